package forward

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// output sends a frame with bytes of the socket. There is credit for it.
func (k *link) output() {
	n, full, err := 0, false, error(unix.EOPNOTSUPP)
	if k.bulk && k.credit >= wire.LeastSpliced {
		n, full, err = k.conn.SpliceOutput(k.seq, framing.StreamOutput, k.socket.FD(), k.credit)
	}
	switch errno, _ := err.(unix.Errno); errno {
	case unix.EOPNOTSUPP, unix.EBUSY, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINVAL:
		n, full, err = k.copyOutput()
	}
	switch {
	case n > 0:
		k.readable = full
		k.bulk = n >= wire.LeastSpliced
		k.credit -= uint64(n)
		if k.hung && k.credit == 0 {
			k.look() // the end is told without credit, and epoll reports it no more
		}
	case err == nil:
		k.endOutput()
	case err == unix.EAGAIN:
		k.readable = false
	default:
		k.broke("read", err)
	}
}

// copyOutput sends a frame with a copy. full says that there may be more bytes.
func (k *link) copyOutput() (n int, full bool, err error) {
	c := k.conn
	room := framing.OutputHeaderSize + int(min(k.credit, wire.MaxOutput))
	frame := c.Space(room)[:room]
	n, err = sys.Recv(k.socket.FD(), frame[framing.OutputHeaderSize:], 0)
	if n > 0 {
		framing.AppendOutputHead(frame[:0], k.seq, framing.StreamOutput, n)
		c.Reply(frame[:framing.OutputHeaderSize+n])
	}
	return n, framing.OutputHeaderSize+n == room, err
}

// endOutput is called at the end of the peer's bytes.
func (k *link) endOutput() {
	if k.out == flowing {
		k.out = ending
	}
	k.readable, k.hung = false, false
}

// broke ends both directions after an error of the socket. The host learns of it by done alone: a
// close of stream 1 would tell it that it has all bytes of the peer.
func (k *link) broke(op string, err error) {
	k.note(op, err)
	k.close()
}

// note keeps the first error.
func (k *link) note(op string, err error) {
	if k.failure == nil {
		k.failure = failed(0, op, "socket", err)
	}
}

// look finds out what a hang-up means. Bytes that came before it are read when there is credit.
func (k *link) look() {
	k.hung = true
	if k.out != flowing {
		// The peer is gone in both directions.
		errno, err := unix.GetsockoptInt(k.socket.FD(), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			k.note("write", unix.Errno(errno))
		}
		k.deafen()
		return
	}
	var b [1]byte
	n, err := sys.Recv(k.socket.FD(), b[:], unix.MSG_PEEK)
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		k.broke("read", err)
	case n == 0:
		k.endOutput()
	default:
		k.readable = true
	}
}

// Input implements [wire.Sink]. It refuses an input that is longer than the whole window outright,
// so that the rest of it cannot use credit that is granted later.
func (k *link) Input(p *framing.Part) bool {
	b := p.Data
	if p.Size > window || len(b) > int(k.window) {
		return false
	}
	k.window -= uint32(len(b))
	if k.state != open || k.in != flowing || len(b) == 0 {
		return true
	}
	if k.head == k.tail {
		b = b[k.write(b):]
	}
	if len(b) > 0 && k.state == open && k.in == flowing {
		k.keep(b)
	}
	k.settle()
	return true
}

// write writes what the socket takes.
func (k *link) write(b []byte) int {
	n, err := sys.Send(k.socket.FD(), b)
	switch err {
	case nil:
		k.given += uint32(n)
		return n
	case unix.EAGAIN:
	case unix.ENOBUFS, unix.ENOMEM:
		k.service.Loop.Start(&k.retry, pause, k)
	case unix.EPIPE:
		k.deafen()
	default:
		k.note("write", err)
		k.deafen()
		// Bytes that came before the error, and the end, are still read.
		k.readable = k.out == flowing
	}
	return 0
}

// keep puts b behind the bytes that wait.
func (k *link) keep(b []byte) {
	if k.buf == nil {
		if k.service.pool == nil {
			pool, err := reactor.NewPool(maxLinks)
			if err != nil {
				k.broke("mmap", unix.ENOMEM)
				return
			}
			pool.Warm = 0
			k.service.pool = pool
		}
		k.buf = k.service.pool.Get() // the pool has a buffer for each link
	}
	if k.tail+len(b) > len(k.buf) {
		k.tail = copy(k.buf, k.buf[k.head:k.tail])
		k.head = 0
	}
	k.tail += copy(k.buf[k.tail:], b)
}

// drain writes bytes that wait.
func (k *link) drain() {
	k.head += k.write(k.buf[k.head:k.tail])
	if k.head == k.tail {
		k.dropInput()
		k.shut()
	}
}

// shut shuts down the socket's writing side, if the host has closed stream 0 and nothing waits.
func (k *link) shut() {
	if k.in == ending && k.head == k.tail {
		k.in = ended
		unix.Shutdown(k.socket.FD(), unix.SHUT_WR)
	}
}

// deafen ends writing, because the peer takes no more.
func (k *link) deafen() {
	k.dropInput()
	k.tellDeaf = k.tellDeaf || k.in == flowing
	k.in = ended
}

// dropInput drops the bytes that wait.
func (k *link) dropInput() {
	k.head, k.tail = 0, 0
	if k.buf != nil {
		k.service.pool.Put(k.buf)
		k.buf = nil
	}
}

// Credit implements [wire.Source].
func (k *link) Credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		k.credit += uint64(n)
		k.settle()
	}
}

// End implements [wire.Channel].
func (k *link) End(s framing.Stream) {
	switch {
	case s > framing.StreamOutput || k.state > open:
		return
	case k.state == connecting:
		k.refuse(failed(framing.StageConnect, "connect", k.dial.name, unix.ECANCELED))
		return
	case s == framing.StreamInput:
		if k.in == flowing {
			k.in = ending
		}
		k.shut()
	default:
		k.unwanted = true
		unix.Shutdown(k.socket.FD(), unix.SHUT_RD) // a Unix peer gets EPIPE when it writes
		k.endOutput()
	}
	if k.unwanted && k.in == ending && !k.timer.Running() {
		k.service.Loop.Start(&k.timer, drainGrace, k)
	}
	k.settle()
}
