package forward

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/wire"
)

const (
	// window limits the input of a link that is on its way or waits, in bytes. After step bytes are
	// taken, the host is granted as many again.
	window = 60 << 10
	step   = window / 4
	// drainGrace limits how long a link that its host has closed waits until its peer has taken the
	// rest.
	drainGrace = 5 * time.Second
	// pause is the time until the kernel is asked again after it had no memory.
	pause = 100 * time.Millisecond
	// linkGarbage is the garbage of a link, in bytes.
	linkGarbage = 1 << 10
)

// state says how far a link has come.
type state uint8

const (
	// connecting: the socket is not connected yet.
	connecting state = iota
	// open: bytes flow, in each direction until its end.
	open
	// over: the socket is closed, and done is to be sent.
	over
	// gone: the channel is closed too.
	gone
)

// half says how far one direction of an open link has come.
type half uint8

const (
	// flowing: there may be more bytes.
	flowing half = iota
	// ending: there are no more bytes, but the other end has not been told. Input may still wait
	// for the socket.
	ending
	// ended: the other end has been told.
	ended
)

// link is a forwarded connection: a socket, and a channel of a host's connection.
type link struct {
	service *Service
	conn    *wire.Conn
	socket  reactor.Descriptor
	timer   reactor.Timer // limits a connect, or the wait until a peer has taken the rest
	retry   reactor.Timer // of a connect, or of a write that got no memory
	seq     uint32
	state   state
	greet   bool     // connected is to be sent
	dial    *dial    // while connecting
	failure *failure // for done, or nil

	// Stream 0.
	in         half
	tellDeaf   bool   // the host is to be told that the peer takes no more
	window     uint32 // bytes that the host may still send
	given      uint32 // bytes taken and not granted again
	buf        []byte // of the pool, or nil
	head, tail int    // the bytes of buf that wait

	// Stream 1.
	out      half
	unwanted bool   // the host has closed it
	readable bool   // a read may return bytes
	hung     bool   // epoll reported a hang-up, and would report it again
	credit   uint64 // bytes that may be sent
	bulk     bool   // the last read filled a frame, so the next is spliced
}

// newLink opens a channel for a link. It answers the request and returns nil if there are too many.
func (s *Service) newLink(c *wire.Conn, seq, credit uint32) *link {
	if s.links == maxLinks {
		worded(framing.StageSocket, unix.EMFILE, "too many connections forwarded (limit 512)").done(c, seq)
		return nil
	}
	s.Garbage.Collect(linkGarbage)
	k := &link{service: s, conn: c, seq: seq, credit: uint64(credit)}
	s.links++
	c.OpenChannel(seq, k)
	return k
}

// begin lets bytes flow.
func (k *link) begin() {
	k.dial = nil
	k.timer.Stop()
	k.retry.Stop()
	k.state, k.greet, k.window = open, true, window
	// A Unix socket refuses the option, which does no harm.
	unix.SetsockoptInt(k.socket.FD(), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	k.interest()
	k.push()
}

// interest derives what the socket is watched for from the link's state.
func (k *link) interest() {
	var i reactor.Interest
	switch {
	case k.state == connecting:
		i = reactor.Write
	case k.out != flowing && !k.hung:
		i = reactor.Hangup
	case k.out == flowing && k.credit > 0 && !k.readable:
		i = reactor.Read
	case k.out == flowing && !k.hung:
		i = reactor.Shutdown // the end is told without credit
	}
	if k.head < k.tail && !k.retry.Running() {
		i |= reactor.Write
	}
	k.socket.Want(i)
}

// Ready implements [reactor.Handler].
func (k *link) Ready(ev reactor.Events) {
	if k.state == connecting {
		k.connected()
		return
	}
	if ev&reactor.Writable != 0 {
		k.drain()
	}
	// An event may be older than an end that was read meanwhile.
	switch {
	case ev&reactor.Readable != 0 && k.out == flowing:
		k.readable = true
	case ev&reactor.ShutDown != 0 && k.out == flowing, ev&reactor.HungUp != 0:
		k.look()
	}
	k.settle()
}

// settle takes the steps that follow from a change, and queues the link if it has a frame to send.
func (k *link) settle() {
	if k.state == open && k.in == ended && k.out == ended {
		k.close()
	}
	k.interest()
	k.push()
}

// close closes the socket. Only done is left to send.
func (k *link) close() {
	k.state = over
	k.release()
}

// release releases all that the link holds but its channel.
func (k *link) release() {
	k.timer.Stop()
	k.retry.Stop()
	k.socket.Close()
	k.dropInput()
	k.dial = nil
}

// reset closes the socket so that its peer sees a reset.
func (k *link) reset() {
	if k.socket.Open() {
		resetOnClose(k.socket.FD())
	}
	k.release()
}

func resetOnClose(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// leave takes the link out of the service's count.
func (k *link) leave() {
	if k.state != gone {
		k.state = gone
		k.service.links--
	}
}

// Expired implements [reactor.TimerHandler].
func (k *link) Expired(t *reactor.Timer) {
	switch {
	case t == &k.retry && k.state == connecting:
		if !k.again() {
			k.try()
		}
	case t == &k.retry:
		k.interest()
	case k.state == connecting:
		k.refuse(failed(framing.StageConnect, "connect", k.dial.name, unix.ETIMEDOUT))
	case k.state == open:
		k.failure = worded(0, unix.ETIMEDOUT, "write socket: peer does not read")
		k.reset()
		k.state = over
		k.push()
	}
}

// Failed implements [reactor.Failer]: a panic costs the connection that it happened on.
func (k *link) Failed(value any, stack []byte) {
	k.service.Log.Panic("forward", value, stack)
	if k.state == gone {
		return
	}
	k.reset()
	k.state, k.failure = over, worded(0, unix.EIO, "internal error")
	k.push()
}

// Lost implements [wire.Channel].
func (k *link) Lost() {
	k.reset()
	k.leave()
}

// push queues the link if it has a frame to send.
func (k *link) push() {
	if k.ready() {
		k.conn.Queue(k)
	}
}

// ready reports whether there is a frame to send.
func (k *link) ready() bool {
	switch k.state {
	case over:
		return true
	case open:
		return k.greet || k.tellDeaf || k.given >= step || k.out == ending || k.readable && k.credit > 0
	}
	return false
}

// Produce implements [wire.Producer].
func (k *link) Produce() (more bool) {
	c := k.conn
	switch {
	case !k.ready():
		return false
	case k.greet:
		k.greet = false
		fd := k.socket.FD()
		m := framing.Connected{
			Credit: k.window,
			Local:  addressText(unix.SYS_GETSOCKNAME, fd), Remote: addressText(unix.SYS_GETPEERNAME, fd),
		}
		c.Reply(framing.AppendConnected(c.Space(framing.HeaderSize+4+2*(2+sizeUnix)), k.seq, &m))
	case k.state == over:
		c.CloseChannel(k)
		k.leave()
		k.failure.done(c, k.seq)
		return false
	case k.tellDeaf:
		k.tellDeaf = false
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), k.seq, framing.StreamInput))
	case k.given >= step:
		c.Reply(framing.AppendCredit(c.Space(framing.HeaderSize+5), k.seq, framing.StreamInput, k.given))
		k.window += k.given
		k.given = 0
	case k.out == ending:
		k.out = ended
		c.Reply(framing.AppendClose(c.Space(framing.HeaderSize+1), k.seq, framing.StreamOutput))
		if k.in == ended {
			k.close()
		}
	default:
		k.output()
	}
	k.interest()
	return k.ready()
}
