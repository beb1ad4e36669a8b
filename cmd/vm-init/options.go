package main

import (
	"errors"
	"strings"

	"wick/reactor/agent"
	"wick/sysinit"
)

// endings has the values of --end.
var endings = map[string]sysinit.Power{"restart": sysinit.Restart, "poweroff": sysinit.PowerOff, "halt": sysinit.Halt}

// options returns the options of the mounts beside the root, of vm-init and of the agent. There is
// no option for a Unix socket, because the root of its path is not mounted yet.
func (m *machine) options() []sysinit.Option {
	// A bad word of the network does not keep the machine from booting. The agent reports it when
	// it configures the rest.
	forNetwork := func(name string) func(string) error {
		return func(value string) error {
			m.network = append(m.network, name+"="+value)
			return nil
		}
	}
	options := append(m.cfg.MountOptions(),
		sysinit.Option{Name: "--end", Value: "HOW", Help: "restart, poweroff or halt the machine at its end (default restart)", Set: func(value string) error {
			power, ok := endings[value]
			if !ok {
				return errors.New("not restart, poweroff or halt")
			}
			m.mode.Power = power
			return nil
		}}, m.lastOption())
	for _, o := range append(m.agent.Table(), m.agent.InitTable()...) {
		if o.Name != "--unix-socket" {
			options = append(options, sysinit.Option(o))
		}
	}
	for _, o := range [][3]string{
		{"--net", "NIC[,FIELD]...", "configure an interface, by name or MAC address: addr=10.0.2.15/24 gw= route= mac= mtu= down"},
		{"--dns", "ADDRESS", "a name server, for /etc/resolv.conf; may be repeated"},
		{"--search", "DOMAIN", "a search domain; may be repeated"},
	} {
		options = append(options, sysinit.Option{Name: o[0], Value: o[1], Help: o[2], Set: forNetwork(o[0])})
	}
	return options
}

// newSettings returns the settings of all options.
func (m *machine) newSettings() *sysinit.Settings {
	s := sysinit.NewSettings(m.cfg.Options(), m.options())
	s.Refuse = refuse
	return s
}

// refuse returns why a source cannot set an option, or "".
func refuse(from sysinit.Source, name string) string {
	switch name {
	case "secret", "secret-file":
		return "a secret comes from the host alone (wick secret set)"
	case "mount", "grow", "swap", "modules", "sysctl", "timezone", "last-words", "restore-signal":
	case "net", "dns", "search":
		if from == sysinit.FromHost {
			return "a host sets it with a network message (wick net set)"
		}
	default:
		if !agent.AtStart(name) {
			return ""
		}
	}
	if from == sysinit.FromHost {
		return sysinit.AtStart
	}
	return ""
}

// liveOptions returns the options of the root that a host can set while a serves.
func (m *machine) liveOptions(a *agent.Agent) []sysinit.Option {
	for _, o := range m.cfg.Options() {
		if o.Name != "--hostname" {
			continue
		}
		check := o.Set
		o.Set = func(value string) error {
			err := check(value)
			if err == nil {
				err = a.SetHostname(value)
			}
			return err
		}
		return []sysinit.Option{o}
	}
	return nil
}

func usage() string {
	m := machine{cfg: sysinit.Default(), agent: agent.Options{}}
	text := `usage: on the kernel's command line, init=/sbin/vm-init -- [options]

Process 1 of a machine: mounts the base image and the overlay disk, serves the
host over vsock, and takes the machine down on SIGTERM, SIGINT (the host's
Ctrl-Alt-Del), SIGPWR, and what poweroff, halt and reboot send.

`
	for _, o := range append(m.cfg.Options(), m.options()...) {
		word := "  " + o.Name
		if !strings.HasSuffix(word, ".") {
			word += " "
		}
		word += o.Value
		text += word + strings.Repeat(" ", max(27-len(word), 1)) + o.Help + "\n"
	}
	return text
}
