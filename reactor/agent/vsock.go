package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// vsockDial is the way by which the guest connects to the host: one connection, made again whenever it ends. A host where nobody
// listens, a device that is not there yet, a restore that reset the connection are all the same to it: it tries again.
type vsockDial struct {
	agent     *Agent
	cid, port uint32
	dial      reactor.Dial
	wait      backoff
	said      unix.Errno // the failure last logged
	closed    bool
}

func (v *vsockDial) open() error {
	v.agent.loop.DialVsock(&v.dial, v.cid, v.port, v)
	return nil
}

// Expired implements [reactor.TimerHandler].
func (v *vsockDial) Expired(*reactor.Timer) { v.open() }

// Connected implements [reactor.DialHandler].
func (v *vsockDial) Connected(fd int) {
	v.said = 0
	if v.agent.accept(fd, v, reactor.VsockName(v.cid, v.port)) == nil {
		v.wait.start(v.agent.loop, v)
	}
}

// DialFailed implements [reactor.DialHandler]. Only a new reason is worth a line.
func (v *vsockDial) DialFailed(err error) {
	if errno := sys.ErrnoOf(err); errno != v.said {
		v.said = errno
		v.agent.log.Info("host not reached, trying on", "error", err.Error())
	}
	v.wait.start(v.agent.loop, v)
}

// Failed implements [reactor.Failer].
func (v *vsockDial) Failed(value any, stack []byte) {
	v.agent.log.Panic("dial", value, stack)
	v.wait.start(v.agent.loop, v)
}

func (v *vsockDial) lost(_ *conn, useful bool) {
	if v.closed {
		return
	}
	v.wait.lost(useful, v.agent.loop, v)
}

func (v *vsockDial) close() {
	v.closed = true
	v.wait.stop()
	v.dial.Close()
}

// vsockListen is the way by which the host connects to the guest.
type vsockListen struct {
	agent    *Agent
	port     uint32
	listener reactor.Listener
	wait     backoff
	said     bool
	starved  bool // AcceptFailed was told, and nothing was accepted since

	refusedSince time.Duration // reactor.Now, of the first refusal that refused counts
	refused      int
}

func (v *vsockListen) open() error {
	fd, err := reactor.ListenVsock(v.port)
	if err != nil {
		if !v.said {
			v.said = true
			v.agent.log.Warn("not listening, trying on", "error", err.Error())
		}
		v.wait.start(v.agent.loop, v)
		return nil
	}
	v.said = false
	v.wait.reset()
	name := reactor.VsockName(unix.VMADDR_CID_ANY, v.port)
	v.agent.loop.Listen(&v.listener, fd, name, v)
	v.agent.log.Info("listening", "on", name)
	return nil
}

// Expired implements [reactor.TimerHandler].
func (v *vsockListen) Expired(*reactor.Timer) { v.open() }

// Refuse implements [reactor.Refuser]. Only the host is served: a process of the guest reaches the
// port too, by way of the loopback, with the context 1 or the machine's own.
func (v *vsockListen) Refuse(peer reactor.Peer) bool {
	if peer.CID == unix.VMADDR_CID_HOST {
		return false
	}
	now := reactor.Now()
	if now-v.refusedSince >= refusalPeriod {
		if more := v.refused - refusalLines; more > 0 {
			v.agent.log.Warn("connections rejected, not the host's", "number", sys.Num(more))
		}
		v.refusedSince, v.refused = now, 0
	}
	if v.refused++; v.refused <= refusalLines {
		v.agent.log.Warn("connection rejected, not the host's", "peer", reactor.VsockName(peer.CID, peer.Port))
	}
	return true
}

// Accepted implements [reactor.ListenHandler].
func (v *vsockListen) Accepted(fd int, peer reactor.Peer) {
	v.starved = false
	v.agent.accept(fd, v, reactor.VsockName(peer.CID, peer.Port))
}

// AcceptFailed implements [reactor.ListenHandler].
func (v *vsockListen) AcceptFailed(err error) {
	if !v.starved {
		v.starved = true
		v.agent.log.Warn("not accepting for now", "error", err.Error())
	}
	if !v.listener.Open() {
		v.wait.start(v.agent.loop, v)
	}
}

// Failed implements [reactor.Failer].
func (v *vsockListen) Failed(value any, stack []byte) { v.agent.log.Panic("accept", value, stack) }

func (v *vsockListen) lost(*conn, bool) {}

func (v *vsockListen) close() {
	v.wait.stop()
	v.listener.Close()
}
