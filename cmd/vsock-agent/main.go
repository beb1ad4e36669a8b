// Command vsock-agent serves a host from within a machine. It runs commands and writes files for
// the host, over vsock or a Unix socket. Package wick/reactor/agent is the agent, and package
// wick/framing has the protocol.
//
// # Command line
//
//   - [cli.version] --version prints the version and exits with code 0.
//   - [cli.help] --help prints the usage and exits with code 0.
//   - [cli.usage] A bad command line is one line on stderr and exit code 2.
//   - [cli.equals] --name=value is the same as --name value.
//   - [cli.limits] Options set the limits of connections, commands, processes, spooled output and
//     kept process_exits.
//   - [cli.log] Log lines go to stderr in the form "level message key=value". The default level
//     logs nothing per message. A command, an environment and a file's content are never logged.
//
// # Signals
//
//   - [signals.end] SIGTERM and SIGINT end the agent. It sends SIGTERM and SIGCONT to the groups of
//     the running commands, removes its own socket and exits with code 0 within 1 s.
//   - [signals.reap] As process 1 of a container, or as a child subreaper, the agent reaps orphans.
//   - [signals.forward] SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH and SIGQUIT go to the groups of the
//     running commands. They do not end the agent.
//
// # Faults
//
//   - [faults.exhausted] A request that lacks descriptors, memory or processes fails with that
//     reason. Everything else continues, and the same request works once they are available.
//   - [faults.accept] A connection that finds no descriptor is served as soon as there is one.
//   - [faults.kill] A timeout kills its whole command even if the agent has no descriptor left.
//   - [faults.stopped] An agent that was stopped (SIGSTOP) and continues answers everything that
//     arrived meanwhile. A command that ended in time has not timed out.
//   - [faults.cgroups] An agent removes the cgroups that a killed agent left, except those with
//     processes. It logs once that commands run without a cgroup.
//   - [faults.oom-score] A command's oom_score_adj is 0, whatever the agent's is.
package main

import (
	"errors"
	"strings"
	"syscall"

	"wick/reactor/agent"
	"wick/sysinit"
)

// version is set by the linker.
var version = "devel"

const head = `usage: vsock-agent [options]

Serves the host of this machine: runs commands and writes files for it. Without
options it both connects to vsock 2:1000 and listens on vsock port 1000.

`

const tail = `  --version               print the version
  --help                  print this text

It ends on SIGTERM and SIGINT. Exit status: 0 after a signal, 2 for a wrong
option, 1 for anything else.
`

func main() { agent.Main(run) }

func run(args []string) {
	var options agent.Options
	done, err := parse(&options, args[1:])
	if err != nil {
		fail(2, err)
	}
	if done != "" {
		syscall.Write(1, []byte(done))
		return
	}
	cfg := options.Config()
	cfg.Signals = true
	cfg.Version = version
	cfg.JobCommand = agent.JobCommand
	cfg.Configure = configuring(&options)
	a, err := agent.New(cfg)
	if err != nil {
		if _, ok := err.(*agent.PathError); ok {
			fail(2, err)
		}
		fail(1, err)
	}
	if err := a.Run(); err != nil {
		fail(1, err)
	}
}

// parse reads the options, as --name value or --name=value. If done is not empty it is to be
// printed instead of running.
func parse(o *agent.Options, args []string) (done string, err error) {
	table := o.Table()
	for len(args) > 0 {
		name, value := args[0], ""
		equals := strings.IndexByte(name, '=')
		if equals >= 0 {
			name, value = name[:equals], name[equals+1:]
		}
		args = args[1:]
		switch name {
		case "--version":
			return "vsock-agent " + version + "\n", nil
		case "--help", "-h":
			return usage(table), nil
		}
		option := find(table, name)
		if option == nil {
			return "", errors.New("unknown option " + name + "; --help lists them")
		}
		if equals < 0 && option.Value != "" {
			if len(args) == 0 {
				return "", errors.New(name + ": value is missing")
			}
			value, args = args[0], args[1:]
		}
		if option.Value == "" && equals < 0 {
			value = "yes"
		}
		if err := option.Set(value); err != nil {
			return "", errors.New(name + ": " + err.Error())
		}
	}
	return "", nil
}

// configuring returns what sets the options in a text of a host's.
func configuring(o *agent.Options) func([]byte, func(int, string)) agent.Config {
	var table []sysinit.Option
	for _, option := range o.Table() {
		table = append(table, sysinit.Option(option))
	}
	settings := sysinit.NewSettings(nil, table)
	settings.Refuse = func(_ sysinit.Source, name string) string {
		if agent.AtStart(name) {
			return sysinit.AtStart
		}
		return ""
	}
	return func(text []byte, wrong func(line int, reason string)) agent.Config {
		for _, err := range settings.Text(sysinit.FromHost, "host", text) {
			if e, ok := err.(*sysinit.OptionError); ok {
				e.Where = ""
				wrong(e.Line, e.Error())
			}
		}
		cfg := o.Config()
		settings.Each(func(name, where string) {
			cfg.Facts = append(cfg.Facts, [2]string{"config." + name, where})
		})
		return cfg
	}
}

func find(table []agent.Option, name string) *agent.Option {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// blanks is the width of an option in the usage.
const blanks = "                          "

func usage(table []agent.Option) string {
	text := head
	for _, o := range table {
		word := "  " + o.Name + " " + o.Value
		text += word + blanks[min(len(word), len(blanks)-1):] + o.Help + "\n"
	}
	return text + tail
}

// fail prints err in one line and ends the program.
func fail(code int, err error) {
	agent.NewLog(2, agent.LevelError).Error("vsock-agent: " + err.Error())
	syscall.Exit(code)
}
