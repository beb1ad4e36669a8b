package link

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Dial connects to the host over vsock. It keeps one connection, and makes it again whenever it
// ends. A host that does not listen, a device that is not there yet, and a restore that reset the
// connection are all retried.
type Dial struct {
	base
	cid, port uint32
	dial      reactor.Dial
	wait      backoff
	said      unix.Errno // the failure that was logged last
	closed    bool
}

// NewDial returns a link that is not open yet.
func NewDial(host Host, loop *reactor.Loop, log *log.Log, cid, port uint32) *Dial {
	return &Dial{base: base{host, loop, log}, cid: cid, port: port}
}

// Open implements [Link]. It returns no error.
func (v *Dial) Open() error {
	v.loop.DialVsock(&v.dial, v.cid, v.port, v)
	return nil
}

// Expired implements [reactor.TimerHandler].
func (v *Dial) Expired(*reactor.Timer) { v.Open() }

// Connected implements [reactor.DialHandler].
func (v *Dial) Connected(fd int) {
	v.said = 0
	if id, _ := v.host.Accept(fd, reactor.VsockName(v.cid, v.port), v); id == 0 {
		v.wait.start(v.loop, v)
	}
}

// DialFailed implements [reactor.DialHandler]. It logs only a new reason.
func (v *Dial) DialFailed(err error) {
	if errno := sys.ErrnoOf(err); errno != v.said {
		v.said = errno
		v.log.Info("host unreachable, retrying", "error", err.Error())
	}
	v.wait.start(v.loop, v)
}

// Failed implements [reactor.Failer].
func (v *Dial) Failed(value any, stack []byte) {
	v.log.Panic("dial", value, stack)
	v.wait.start(v.loop, v)
}

// Lost implements [Link].
func (v *Dial) Lost(_ uint32, useful, _ bool) {
	if v.closed {
		return
	}
	v.wait.lost(useful, v.loop, v)
}

// Dialed implements [Link]. The link makes every connection itself.
func (v *Dial) Dialed(uint32) bool { return true }

// Vsock implements [Link].
func (v *Dial) Vsock() bool { return true }

// Close implements [Link].
func (v *Dial) Close() {
	v.closed = true
	v.wait.stop()
	v.dial.Close()
}

const (
	// refusalLines is how many refused connections are logged in a refusalPeriod, one line each.
	// The others are only counted.
	refusalLines  = 10
	refusalPeriod = 10 * time.Second
)

// Listen waits for the host at a vsock port.
type Listen struct {
	base
	port     uint32
	listener reactor.Listener
	wait     backoff
	said     bool
	starved  bool // AcceptFailed was called, and no connection was accepted since

	refusedSince time.Duration // reactor.Now of the first refusal that refused counts
	refused      int
}

// NewListen returns a link that is not open yet.
func NewListen(host Host, loop *reactor.Loop, log *log.Log, port uint32) *Listen {
	return &Listen{base: base{host, loop, log}, port: port}
}

// Open implements [Link]. If it cannot listen it retries, and returns no error.
func (v *Listen) Open() error {
	fd, err := reactor.ListenVsock(v.port)
	if err != nil {
		if !v.said {
			v.said = true
			v.log.Warn("cannot listen, retrying", "error", err.Error())
		}
		v.wait.start(v.loop, v)
		return nil
	}
	v.said = false
	v.wait.reset()
	name := reactor.VsockName(unix.VMADDR_CID_ANY, v.port)
	v.loop.Listen(&v.listener, fd, name, v)
	v.log.Info("listening", "on", name)
	return nil
}

// Expired implements [reactor.TimerHandler].
func (v *Listen) Expired(*reactor.Timer) { v.Open() }

// Refuse implements [reactor.Refuser]. It admits only the host. A process of the guest can reach
// the port by the loopback, with context 1 or the machine's own.
func (v *Listen) Refuse(peer reactor.Peer) bool {
	if peer.CID == unix.VMADDR_CID_HOST {
		return false
	}
	now := reactor.Now()
	if now-v.refusedSince >= refusalPeriod {
		if more := v.refused - refusalLines; more > 0 {
			v.log.Warn("connections rejected, peers are not the host", "number", sys.Num(more))
		}
		v.refusedSince, v.refused = now, 0
	}
	if v.refused++; v.refused <= refusalLines {
		name := reactor.VsockName(peer.CID, peer.Port)
		v.log.Warn("connection rejected, peer is not the host", "peer", name)
	}
	return true
}

// Accepted implements [reactor.ListenHandler].
func (v *Listen) Accepted(fd int, peer reactor.Peer) {
	v.starved = false
	v.host.Accept(fd, reactor.VsockName(peer.CID, peer.Port), v)
}

// AcceptFailed implements [reactor.ListenHandler].
func (v *Listen) AcceptFailed(err error) {
	if !v.starved {
		v.starved = true
		v.log.Warn("not accepting for now", "error", err.Error())
	}
	if !v.listener.Open() {
		v.wait.start(v.loop, v)
	}
}

// Failed implements [reactor.Failer].
func (v *Listen) Failed(value any, stack []byte) { v.log.Panic("accept", value, stack) }

// Lost implements [Link].
func (v *Listen) Lost(uint32, bool, bool) {}

// Dialed implements [Link].
func (v *Listen) Dialed(uint32) bool { return false }

// Vsock implements [Link].
func (v *Listen) Vsock() bool { return true }

// Close implements [Link].
func (v *Listen) Close() {
	v.wait.stop()
	v.listener.Close()
}
