package link

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Dial connects to the host over vsock: one connection, made again whenever it ends. It makes no
// difference between a host that does not listen, a device that is not there yet, and a restore that
// reset the connection.
type Dial struct {
	base
	cid, port uint32
	dial      reactor.Dial
	wait      backoff
	said      unix.Errno // the failure last logged
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

// DialFailed implements [reactor.DialHandler]. Only a new reason is worth a line.
func (v *Dial) DialFailed(err error) {
	if errno := sys.ErrnoOf(err); errno != v.said {
		v.said = errno
		v.log.Info("host not reached, trying on", "error", err.Error())
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

// Dialed implements [Link]: the link makes every connection itself.
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
	// refusalLines is how many connections refused in a refusalPeriod are logged, each by a line.
	// Others are only counted.
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
	starved  bool // AcceptFailed was told, and nothing was accepted since

	refusedSince time.Duration // reactor.Now, of the first refusal that refused counts
	refused      int
}

// NewListen returns a link that is not open yet.
func NewListen(host Host, loop *reactor.Loop, log *log.Log, port uint32) *Listen {
	return &Listen{base: base{host, loop, log}, port: port}
}

// Open implements [Link]. It returns no error, because it tries again later if it cannot listen.
func (v *Listen) Open() error {
	fd, err := reactor.ListenVsock(v.port)
	if err != nil {
		if !v.said {
			v.said = true
			v.log.Warn("not listening, trying on", "error", err.Error())
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

// Refuse implements [reactor.Refuser]. Only the host is served: a process of the guest reaches the
// port too, by way of the loopback, with the context 1 or the machine's own.
func (v *Listen) Refuse(peer reactor.Peer) bool {
	if peer.CID == unix.VMADDR_CID_HOST {
		return false
	}
	now := reactor.Now()
	if now-v.refusedSince >= refusalPeriod {
		if more := v.refused - refusalLines; more > 0 {
			v.log.Warn("connections rejected, not the host's", "number", sys.Num(more))
		}
		v.refusedSince, v.refused = now, 0
	}
	if v.refused++; v.refused <= refusalLines {
		v.log.Warn("connection rejected, not the host's", "peer", reactor.VsockName(peer.CID, peer.Port))
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
