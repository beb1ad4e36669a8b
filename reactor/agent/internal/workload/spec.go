package workload

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// Spec says what a service is, and when it is started.
type Spec struct {
	name    string
	command command
	user    string
	dir     string
	env     []string // NAME=VALUE
	restart policy
	tries   uint32 // the most starts in a row; 0: no limit
	waits   wait
	ends    bool // the machine
	console bool // gets a copy of the output
	signal  unix.Signal
	grace   time.Duration // after signal

	after    []string // services that are ready before
	ready    readiness
	port     uint16        // of readyPort
	probe    command       // of readyProbe
	watchdog time.Duration // the longest time between two signs of life; 0: no limit
	limits   []reactor.Limit
	terminal terminal
	confine  framing.ConfineOptions
	filter   string // file of a seccomp filter, or empty
	wrong    string // why it is never started, or ""
}

// command is a program with arguments, or a line for the shell.
type command struct {
	words framing.Words
	shell bool
}

// readiness says when a service is ready.
type readiness uint8

const (
	readyStart  readiness = iota // once the program has been executed
	readyEnd                     // once it has ended with code 0
	readyProbe                   // once a command has ended with code 0
	readyPort                    // once a TCP port listens
	readyNotify                  // once it says so
)

// terminal says which terminal a service has.
type terminal uint8

const (
	noTerminal  terminal = iota
	ownTerminal          // a new one, for hosts that attach
	theConsole           // the console of the machine
)

// policy says after which ends the workload is started again.
type policy uint8

const (
	never policy = iota
	onFailure
	always
)

// wait says for what the first start waits.
type wait uint8

const (
	noWait wait = iota
	waitHost
	waitConfigure
)

const (
	// defaultSignal ends a service, and defaultGrace is how long it has then.
	defaultSignal = unix.SIGTERM
	defaultGrace  = 10 * time.Second
	// maxGrace is the longest such time, in seconds.
	maxGrace = 3600
	// shellMark precedes a line for the shell.
	shellMark = "sh:"
)

// Option is an option of the command line, as in package agent.
type Option struct {
	Name, Value, Help string
	Set               func(value string) error
	Many              func(value string) (name string)
	Private           bool
}

// envName returns the name of an entry of the environment.
func envName(entry string) string {
	name, _, _ := sys.Cut(entry, '=')
	return name
}

// Options returns the options that set s, under the names of the workload's.
func (s *Spec) Options() (options []Option) {
	for _, o := range [...]Option{
		{Name: "--workload", Value: "COMMAND", Private: true,
			Help: "program to run, with its arguments; or sh:LINE"},
		{Name: "--workload-user", Value: "USER", Help: "name or uid, and :group, that it runs as"},
		{Name: "--workload-dir", Value: "DIR", Help: "its working directory"},
		{Name: "--workload-env", Value: "NAME=VALUE", Many: envName, Private: true,
			Help: "an entry of its environment; may be repeated"},
		{Name: "--workload-restart", Value: "WHEN",
			Help: "start it again: no, on-failure or always (default no)"},
		{Name: "--workload-tries", Value: "N",
			Help: "how often it is started in a row (default 0: no limit)"},
		{Name: "--workload-wait", Value: "no|host|configure",
			Help: "start it once a host has said hello, or has configured the machine (default no)"},
		{Name: "--workload-end", Value: "no|machine",
			Help: "machine: end the machine with it, unless it is restarted (default no)"},
		{Name: "--workload-console", Help: "copy its output to the console"},
		{Name: "--workload-stop", Value: "SIGNAL[:SEC]",
			Help: "signal that ends it, and time for that (default TERM:10)"},
		{Name: "--workload-after", Value: "NAME[,NAME]",
			Help: "start it once these services are ready"},
		{Name: "--workload-ready", Value: "WHEN", Private: true,
			Help: "it is ready at its start, its end, notify, port:N or exit:COMMAND (default start)"},
		{Name: "--workload-watchdog", Value: "SEC",
			Help: "it is killed unless it notifies WATCHDOG=1 so often (default 0: never)"},
		{Name: "--workload-limit", Value: "NAME=SOFT[:HARD]", Many: envName,
			Help: "a limit of setrlimit, or memory or pids of all; may be repeated"},
		{Name: "--workload-terminal", Value: "no|yes|console",
			Help: "yes: a terminal, for hosts that attach; console: that (default no)"},
	} {
		name := o.Name
		o.Set = func(value string) error { return s.set(name, value) }
		options = append(options, o)
	}
	return append(options, s.confineOptions()...)
}

// set sets an option. The error does not name it.
func (s *Spec) set(option, value string) error {
	switch option[len("--workload"):] {
	case "":
		return s.command.set(value)
	case "-user":
		s.user = value
	case "-dir":
		s.dir = value
	case "-env":
		return s.setEnv(value)
	case "-restart":
		switch value {
		case "no":
			s.restart = never
		case "on-failure":
			s.restart = onFailure
		case "always":
			s.restart = always
		default:
			return errors.New("not no, on-failure or always")
		}
	case "-tries":
		n, ok := sys.ParseNumber(value)
		if !ok {
			return errors.New("not a number")
		}
		s.tries = n
	case "-wait":
		switch value {
		case "no":
			s.waits = noWait
		case "host":
			s.waits = waitHost
		case "configure":
			s.waits = waitConfigure
		default:
			return errors.New("not no, host or configure")
		}
	case "-end":
		return setFlag(&s.ends, value, "machine")
	case "-console":
		return setFlag(&s.console, value, "yes")
	case "-stop":
		return s.setStop(value)
	case "-after":
		return s.setAfter(value)
	case "-ready":
		return s.setReady(value)
	case "-watchdog":
		n, ok := sys.ParseNumber(value)
		if !ok || n > maxGrace {
			return errors.New("not a number of seconds up to " + sys.Num(maxGrace))
		}
		s.watchdog = time.Duration(n) * time.Second
	case "-limit":
		return s.setLimit(value)
	case "-terminal":
		switch value {
		case "no":
			s.terminal = noTerminal
		case "yes":
			s.terminal = ownTerminal
		case "console":
			s.terminal = theConsole
		default:
			return errors.New("not no, yes or console")
		}
	}
	return nil
}

func setFlag(to *bool, value, only string) error {
	if value != only && value != "no" {
		return errors.New("not no or " + only)
	}
	*to = value == only
	return nil
}

func (c *command) set(value string) error {
	words, shell, err := ParseCommand(value)
	if err == nil {
		*c = command{words, shell}
	}
	return err
}

// ParseCommand parses a command of an option: words, or sh: and a line for the shell.
func ParseCommand(value string) (words framing.Words, shell bool, err error) {
	if len(value) >= len(shellMark) && value[:len(shellMark)] == shellMark {
		if value = value[len(shellMark):]; value == "" {
			return words, false, errors.New("no line for the shell")
		}
		words.Add(value)
		return words, true, nil
	}
	err = split(&words, value)
	return words, false, err
}

// split splits a line at blanks. A part in double quotes may have blanks, and "" is an empty word.
func split(words *framing.Words, line string) error {
	var word []byte
	begun, quoted := false, false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			begun, quoted = true, !quoted
		case !quoted && (c == ' ' || c == '\t'):
			if begun {
				words.Add(string(word))
			}
			word, begun = word[:0], false
		default:
			word, begun = append(word, c), true
		}
	}
	if quoted {
		return errors.New("the quotes are not closed")
	}
	if begun {
		words.Add(string(word))
	}
	if words.Len() == 0 {
		return errors.New("no command")
	}
	return nil
}

func (s *Spec) setEnv(value string) error {
	return launch.SetEntry(&s.env, value)
}

func (s *Spec) setStop(value string) error {
	name, text, timed := sys.Cut(value, ':')
	sig := FindSignal(name)
	if sig == 0 {
		return errors.New("unknown signal")
	}
	grace := defaultGrace
	if timed {
		n, ok := sys.ParseNumber(text)
		if !ok || n > maxGrace {
			return errors.New("not a number of seconds up to " + sys.Num(maxGrace))
		}
		grace = time.Duration(n) * time.Second
	}
	s.signal, s.grace = sig, grace
	return nil
}

// maxSignal is the highest signal number; signal(7).
const maxSignal = 64

// FindSignal returns the signal with that number or name, with or without SIG; 0 if it is
// unknown.
func FindSignal(text string) unix.Signal {
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		name := unix.SignalName(sig)
		if sys.Num(int(sig)) == text || name != "" && (name == text || name[len("SIG"):] == text) {
			return sig
		}
	}
	return 0
}

// exists reports whether there is a service to start.
func (s *Spec) exists() bool { return s.command.words.Len() > 0 || s.wrong != "" }

// start returns the request that starts the service.
func (s *Spec) start() *framing.Start {
	req := s.request(&s.command)
	req.ID = framing.ServiceID(s.name)
	if s.terminal != noTerminal {
		req.Terminal, req.Stdin = true, s.terminal == ownTerminal
		req.Rows, req.Columns = 24, 80
	}
	for _, l := range s.limits {
		if l.Resource < launch.FurtherLimit {
			req.Limits.Add(framing.Limit{Resource: uint8(l.Resource), Soft: l.Soft, Hard: l.Hard})
		}
	}
	return req
}

// request returns a request that runs a command with the service's user, directory and environment.
func (s *Spec) request(c *command) *framing.Start {
	req := &framing.Start{
		Shell: c.shell, Args: c.words, User: []byte(s.user), Dir: []byte(s.dir),
	}
	for _, e := range s.env {
		name, value, _ := sys.Cut(e, '=')
		req.Env.Add([]byte(name), []byte(value))
	}
	return req
}
