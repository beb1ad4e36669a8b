package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// initctl is init's FIFO. The poweroff, halt, reboot, shutdown and telinit of sysvinit write to it,
// and systemd's do where systemd does not run. Only root can.
type initctl struct {
	reactor.Descriptor
	agent *Agent
}

const initctlPath = "/run/initctl"

// A request is 384 bytes, written in one piece: a magic number, a command and a run level, each of
// 32 bits, and what no run level needs. The numbers are little-endian on all machines that we know.
const (
	initRequestSize = 384
	initRunLevel    = "\x69\x19\x09\x03" + "\x01\x00\x00\x00"
)

// open makes the FIFO, in a /run that is new.
func (c *initctl) open(a *Agent) error {
	c.agent = a
	if err := unix.Mkfifo(initctlPath, 0o600); err != nil {
		return sys.NewError("mkfifo", initctlPath, err)
	}
	// For writing too, so that it is not at its end whenever no tool has it open.
	fd, err := unix.Open(initctlPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return sys.NewError("open", initctlPath, err)
	}
	a.loop.Attach(&c.Descriptor, fd, c)
	c.Want(reactor.Read)
	return nil
}

// Ready implements [reactor.Handler].
func (c *initctl) Ready(reactor.Events) {
	a := c.agent
	b := a.loop.Scratch()[:initRequestSize]
	n, err := sys.Read(c.FD(), b)
	switch {
	case err != nil && err != unix.EAGAIN:
		a.log.Warn("not listening any more", "on", initctlPath)
		c.Close()
	case n == initRequestSize && string(b[:len(initRunLevel)]) == initRunLevel:
		switch b[len(initRunLevel)] {
		case '0':
			a.shutDown("initctl", "0", PowerOff)
		case '6':
			a.shutDown("initctl", "6", PowerRestart)
		}
	}
}

// Failed implements [reactor.Failer].
func (c *initctl) Failed(value any, stack []byte) { c.agent.log.Panic("initctl", value, stack) }
