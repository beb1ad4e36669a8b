package main

import (
	"errors"
	"strings"

	"wick/reactor/agent"
	"wick/sysinit"
)

// endings has the values of --end.
var endings = map[string]sysinit.Power{"restart": sysinit.Restart, "poweroff": sysinit.PowerOff, "halt": sysinit.Halt}

// options returns the options of vm-init and of the agent. There is no option for a Unix socket,
// because the root of its path is not mounted yet.
func (m *machine) options() []sysinit.Option {
	options := []sysinit.Option{
		{Name: "--end", Value: "HOW", Help: "restart, poweroff or halt the machine at its end (default restart)", Set: func(value string) error {
			power, ok := endings[value]
			if !ok {
				return errors.New("not restart, poweroff or halt")
			}
			m.mode.Power = power
			return nil
		}},
	}
	for _, o := range m.agent.Table() {
		if o.Name != "--unix-socket" {
			options = append(options, sysinit.Option(o))
		}
	}
	return options
}

func usage() string {
	m := machine{cfg: sysinit.Default(), agent: agent.Options{}}
	text := `usage: on the kernel's command line, init=/sbin/vm-init -- [options]

Process 1 of a machine: mounts the base image and the overlay disk, serves the
host over vsock, and takes the machine down on SIGTERM, SIGINT (the host's
Ctrl-Alt-Del), SIGPWR, and what poweroff, halt and reboot send.

`
	for _, o := range append(m.cfg.Options(), m.options()...) {
		word := "  " + o.Name + " " + o.Value
		text += word + strings.Repeat(" ", max(27-len(word), 1)) + o.Help + "\n"
	}
	return text
}
