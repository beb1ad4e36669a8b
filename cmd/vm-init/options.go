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
	forAgent := func(name string) func(string) error {
		return func(value string) error {
			_, err := m.agent.Set(name, value)
			if err != nil {
				_, reason, _ := strings.Cut(err.Error(), ": ")
				return errors.New(reason) // the caller adds the name of the option
			}
			return nil
		}
	}
	options := []sysinit.Option{
		{Name: "--vsock-dial", Value: "CID:PORT", Help: "connect to the host (default 2:1000; off: do not)", Set: forAgent("--vsock-dial")},
		{Name: "--vsock-listen", Value: "PORT", Help: "listen for the host (default 1000; off: do not)", Set: forAgent("--vsock-listen")},
		{Name: "--log-level", Value: "LEVEL", Help: "error, warn, info or debug (default info)", Set: forAgent("--log-level")},
		{Name: "--end", Value: "HOW", Help: "restart, poweroff or halt the machine at its end (default restart)", Set: func(value string) error {
			power, ok := endings[value]
			if !ok {
				return errors.New("not restart, poweroff or halt")
			}
			m.mode.Power = power
			return nil
		}},
	}
	for _, l := range agent.LimitOptions {
		options = append(options, sysinit.Option{Name: l.Name, Value: l.Value, Help: l.Help, Set: forAgent(l.Name)})
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
