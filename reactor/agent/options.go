package agent

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/workload"
)

// Option is an option of the command line, "--name VALUE".
type Option struct {
	// Name is the option as it is written, such as "--log-level".
	Name string
	// Value is the placeholder for the value in a usage text. An option without one is a switch,
	// and its values are yes and no.
	Value string
	// Help is one lower-case line for a usage text.
	Help string
	// Set parses and stores the value. After an error nothing has changed. The error names the
	// value, not the option; the caller adds that.
	Set func(value string) error
	// Many returns the name that a value sets, for an option that may set several; nil for others.
	Many func(value string) (name string)
	// Private says that the value may have a secret, so that errors must not show it.
	Private bool
}

// Options are the options of an agent. The zero Options has the defaults.
type Options struct {
	// UnixSocket is the path of --unix-socket, or empty.
	UnixSocket string
	dial       string
	listen     string
	level      Level
	leveled    bool
	limits     Limits
	defaults   launch.Defaults
	forgets    bool
	notice     machine.Notice
	services   workload.Specs
	// openServices is set by InitTable.
	openServices func(*Agent) services
}

// Table returns the options. Each stores its value in o.
func (o *Options) Table() []Option {
	table := []Option{
		{Name: "--unix-socket", Value: "PATH", Set: o.setUnixSocket,
			Help: "meet the host at PATH, not over vsock: connect or listen"},
		{Name: "--vsock-dial", Value: "CID:PORT", Set: o.setDial,
			Help: "connect to the host (default 2:1000; off: do not)"},
		{Name: "--vsock-listen", Value: "PORT", Set: o.setListen,
			Help: "listen for the host (default 1000; off: do not)"},
		{Name: "--log-level", Value: "LEVEL", Set: o.setLevel,
			Help: "error, warn, info or debug (default info)"},
	}
	for _, l := range limitOptions {
		set := func(value string) error {
			n, ok := sys.ParseNumber(value)
			if !ok || n == 0 || n > maxLimit {
				value = sys.Quote(value)
				return errors.New(value + " is not a number from 1 to " + sys.Num(maxLimit))
			}
			*l.field(&o.limits) = n
			return nil
		}
		table = append(table, Option{Name: l.name, Value: l.value, Help: l.help, Set: set})
	}
	for _, d := range o.defaults.Options() {
		table = append(table, Option(d))
	}
	return append(table,
		Option{Name: "--secrets-forget", Value: "no|restore", Set: o.setForgets,
			Help: "restore: forget the host's secrets after a restore (default no)"},
		Option{Name: "--restore-command", Value: "COMMAND", Private: true,
			Help: "run after the restore of a snapshot: words, or sh:LINE", Set: o.setNotice},
		Option{Name: "--restore-timeout", Value: "SEC",
			Help: "time for that command (default 10)", Set: o.setNoticeTimeout})
}

// AtStart reports whether an option has an effect at the start of an agent alone. name has no
// hyphens before it.
func AtStart(name string) bool {
	switch name {
	case "unix-socket", "vsock-dial", "vsock-listen", "restore-command", "restore-timeout",
		"max-connections", "max-commands", "max-pids", "max-kept", "max-watches":
		return true
	}
	return false
}

// CheckServices finds the services that can never be started, and calls wrong with the option that
// is to blame, without "--", and the reason.
func (o *Options) CheckServices(wrong func(option, reason string)) { o.services.Check(wrong) }

// InitTable returns further options, of an agent with Init. Each stores its value in o.
func (o *Options) InitTable() (table []Option) {
	o.openServices = openServices(&o.services)
	for _, w := range o.services.Options() {
		table = append(table, Option(w))
	}
	return append(table, Option{Name: "--restore-signal", Value: "SIGNAL",
		Help: "to the workload after the restore of a snapshot", Set: o.setNoticeSignal})
}

func (o *Options) setNotice(value string) error {
	words, shell, err := workload.ParseCommand(value)
	if err == nil {
		o.notice.Command, o.notice.Shell = words, shell
	}
	return err
}

func (o *Options) setNoticeTimeout(value string) error {
	const most = 3600
	n, ok := sys.ParseNumber(value)
	if !ok || n == 0 || n > most {
		return errors.New("not a number of seconds from 1 to " + sys.Num(most))
	}
	o.notice.Timeout = time.Duration(n) * time.Second
	return nil
}

func (o *Options) setNoticeSignal(value string) error {
	sig := workload.FindSignal(value)
	if sig == 0 {
		return errors.New("unknown signal " + sys.Quote(value))
	}
	o.notice.Signal = sig
	return nil
}

func (o *Options) setUnixSocket(path string) error {
	if path == "" {
		return errors.New("path is empty")
	}
	o.UnixSocket = path
	return nil
}

func (o *Options) setForgets(value string) error {
	if value != "no" && value != "restore" {
		return errors.New("not no or restore")
	}
	o.forgets = value == "restore"
	return nil
}

func (o *Options) setDial(value string) error {
	_, _, err := parseDial(value)
	if err == nil {
		o.dial = value
	}
	return err
}

func (o *Options) setListen(value string) error {
	_, err := parseListen(value)
	if err == nil {
		o.listen = value
	}
	return err
}

func (o *Options) setLevel(name string) error {
	level, ok := log.ParseLevel(name)
	if !ok {
		return errors.New("unknown level " + sys.Quote(name))
	}
	o.level, o.leveled = level, true
	return nil
}

// Config returns the configuration that the options describe. With a Unix socket, vsock is off
// unless an option turns it on.
func (o *Options) Config() Config {
	dial, listen := o.dial, o.listen
	if dial == "" {
		dial = "2:1000"
		if o.UnixSocket != "" {
			dial = "off"
		}
	}
	if listen == "" {
		listen = "1000"
		if o.UnixSocket != "" {
			listen = "off"
		}
	}
	level := LevelInfo
	if o.leveled {
		level = o.level
	}
	c := Config{
		UnixSocket: o.UnixSocket, Log: NewLog(2, level), Limits: o.limits, openServices: o.openServices,
		defaults: o.defaults, forgets: o.forgets, notice: o.notice,
	}
	c.DialCID, c.DialPort, _ = parseDial(dial)
	c.ListenPort, _ = parseListen(listen)
	return c
}

// parseDial parses CID:PORT or off.
func parseDial(s string) (cid, port uint32, err error) {
	if s == "off" {
		return 0, 0, nil
	}
	c, p, _ := sys.Cut(s, ':')
	cid, ok := sys.ParseNumber(c)
	port, ok2 := sys.ParseNumber(p)
	if !ok || !ok2 || cid == unix.VMADDR_CID_ANY || port == 0 || port == unix.VMADDR_PORT_ANY {
		return 0, 0, errors.New(sys.Quote(s) + " is not CID:PORT or off")
	}
	return cid, port, nil
}

// parseListen parses a port, from 1 to 4294967294, or off.
func parseListen(s string) (uint32, error) {
	if s == "off" {
		return 0, nil
	}
	n, ok := sys.ParseNumber(s)
	if !ok || n == 0 || n == unix.VMADDR_PORT_ANY {
		return 0, errors.New(sys.Quote(s) + " is not a port or off")
	}
	return n, nil
}
