package main

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/agent"
	"wick/sysinit"
)

const (
	// lastPath is where the last words are written by default.
	lastPath = "/var/log/wick/last"
	// lastOff is the path that writes none.
	lastOff = "off"
	// lastLimit bounds the time to write them.
	lastLimit = 3 * time.Second
	// keptWords is how much of the log is kept for them, in bytes.
	keptWords = 8 << 10
)

// lastOption returns the option that says where last words are written.
func (m *machine) lastOption() sysinit.Option {
	return sysinit.Option{Name: "--last-words", Value: "PATH|off", Help: "where the machine's end is written down (default " + lastPath + ")", Set: func(value string) error {
		if value != lastOff && (value == "" || value[0] != '/' || value[len(value)-1] == '/') {
			return errors.New("not off or the absolute path of a file")
		}
		m.last = value
		return nil
	}}
}

// lastFile returns the path of the file. ok is false if there is no file, because none is wanted
// or nothing that is written outlasts the machine.
func (m *machine) lastFile() (path string, ok bool) {
	path = m.last
	if path == "" {
		path = lastPath
	}
	if m.root == nil || path == lastOff {
		return "", false
	}
	_, ok = m.root.Writable()
	return path, ok && m.rooted
}

// lastWords writes down what has ended the machine, for the next boot. A job does it, because a
// disk may be dead.
func (m *machine) lastWords() {
	path, ok := m.lastFile()
	if !ok || m.said {
		return
	}
	m.said = true
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		m.log.Warn("last words not written", "error", err.Error())
		return
	}
	unix.Write(pipe[1], []byte(agent.LastWords(m.served, m.problem, m.log))) // a pipe holds it
	unix.Close(pipe[1])
	ok, err := sysinit.RunFor(lastLimit, pipe[0], agent.JobCommand[0], agent.JobCommand[1], agent.LastJob.Name, path)
	unix.Close(pipe[0])
	switch {
	case err != nil:
		m.log.Warn("last words not written", "error", err.Error())
	case !ok:
		m.log.Warn("last words not written", "path", path)
	}
}
