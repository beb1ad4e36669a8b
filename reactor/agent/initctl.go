package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// initctl is init's FIFO. The poweroff, halt, reboot, shutdown and telinit of sysvinit write to it,
// and so do systemd's where systemd does not run. Only root can.
type initctl struct {
	reactor.Descriptor
	agent *Agent
}

const initctlPath = "/run/initctl"

// A request is 384 bytes, written at once: a magic number, a command and a run level, each of 32
// bits, and fields for other commands. Numbers are little-endian on every supported machine.
const (
	initRequestSize = 384
	initRunLevel    = "\x69\x19\x09\x03" + "\x01\x00\x00\x00"
)

// open creates the FIFO, in a /run that is new.
func (c *initctl) open(a *Agent) error {
	c.agent = a
	if err := unix.Mkfifo(initctlPath, 0o600); err != nil {
		return sys.NewError("mkfifo", initctlPath, err)
	}
	// Opened for writing too, so that it has no end of file while no tool has it open.
	fd, err := unix.Open(initctlPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return sys.NewError("open", initctlPath, err)
	}
	a.loop.Attach(&c.Descriptor, fd, c)
	c.Want(reactor.Read)
	return nil
}

// Ready implements [reactor.Handler]. It reads one request.
func (c *initctl) Ready(reactor.Events) {
	a := c.agent
	b := a.loop.Scratch()[:initRequestSize]
	n, err := sys.Read(c.FD(), b)
	switch {
	case err != nil && err != unix.EAGAIN:
		a.log.Warn("initctl closed", "path", initctlPath, "error", err.Error())
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
