// Command vsock-agent serves a host from within a machine: it runs commands and writes files for it, over vsock or a Unix
// socket. See package wick/reactor/agent.
package main

import (
	"errors"
	"strings"
	"syscall"

	"wick/reactor/agent"
)

// version is set by the linker.
var version = "devel"

const head = `usage: vsock-agent [options]

Serves the host of this machine: runs its commands and writes its files. Without
options it both connects to vsock 2:1000 and listens on vsock port 1000.

`

const tail = `  --version               print the version
  --help                  print this text

It ends on SIGTERM and SIGINT. Exit status: 0 after a signal, 2 for a wrong
option, 1 for anything else.
`

func main() {
	agent.RunJob()
	agent.Tune()
	var options agent.Options
	done, err := parse(&options, agent.Args()[1:])
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

// parse reads the options, as --name value or --name=value. done is what to print instead of running.
func parse(o *agent.Options, args []string) (done string, err error) {
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
			return head + agent.Usage() + tail, nil
		}
		if equals < 0 && o.Known(name) {
			if len(args) == 0 {
				return "", errors.New(name + ": value is missing")
			}
			value, args = args[0], args[1:]
		}
		known, err := o.Set(name, value)
		if err != nil {
			return "", err
		}
		if !known {
			return "", errors.New("unknown option " + name + " (--help lists them)")
		}
	}
	return "", nil
}

// fail says why in one line and ends the program.
func fail(code int, err error) {
	agent.NewLog(2, agent.LevelError).Error("vsock-agent: " + err.Error())
	syscall.Exit(code)
}
