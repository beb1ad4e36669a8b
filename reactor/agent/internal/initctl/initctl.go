// Package initctl takes the requests of tools for sysvinit, such as poweroff and reboot.
package initctl

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// FIFO is init's FIFO. The poweroff, halt, reboot, shutdown and telinit of sysvinit write to it,
// and so do systemd's where systemd does not run. Only root can.
type FIFO struct {
	reactor.Descriptor
	loop     *reactor.Loop
	log      *log.Log
	runLevel func(level byte)
}

const path = "/run/initctl"

// A request is 384 bytes, written at once: a magic number, a command and a run level, each of 32
// bits, and fields for other commands. Numbers are little-endian on every supported machine.
const (
	requestSize = 384
	setRunLevel = "\x69\x19\x09\x03" + "\x01\x00\x00\x00"
)

// Open creates the FIFO, in a /run that is new. runLevel is called for each change of the run level
// that a tool asks for, such as '0' for the end of the machine.
func (f *FIFO) Open(loop *reactor.Loop, l *log.Log, runLevel func(level byte)) error {
	f.loop, f.log, f.runLevel = loop, l, runLevel
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return sys.NewError("mkfifo", path, err)
	}
	// Opened for writing too, so that it has no end of file while no tool has it open.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return sys.NewError("open", path, err)
	}
	loop.Attach(&f.Descriptor, fd, f)
	f.Want(reactor.Read)
	return nil
}

// Ready implements [reactor.Handler]. It reads one request.
func (f *FIFO) Ready(reactor.Events) {
	b := f.loop.Scratch()[:requestSize]
	n, err := sys.Read(f.FD(), b)
	switch {
	case err != nil && err != unix.EAGAIN:
		f.log.Warn("initctl closed", "path", path, "error", err.Error())
		f.Close()
	case n == requestSize && string(b[:len(setRunLevel)]) == setRunLevel:
		f.runLevel(b[len(setRunLevel)])
	}
}

// Failed implements [reactor.Failer].
func (f *FIFO) Failed(value any, stack []byte) { f.log.Panic("initctl", value, stack) }
