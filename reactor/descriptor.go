package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// Interest is what a descriptor waits for.
type Interest uint8

const (
	// Read waits for bytes, a connection, or the end of either.
	Read Interest = 1 << iota
	// Write waits for room.
	Write
	// Hangup waits for nothing but the far end's going away. Only for sockets: a pipe whose far end is gone would
	// report it for ever.
	Hangup
	// Shutdown waits for the far end to shut down its writing side, or both (EPOLLRDHUP). Only for sockets.
	Shutdown
	// Exception waits for what poll(2) calls an exceptional condition, POLLPRI: a trigger of the kernel's pressure files, a change of
	// /proc/mounts, urgent data of a socket.
	Exception
)

// Events is what happened to a descriptor.
type Events uint8

const (
	// Readable: a read will not block. It may give the end or an error.
	Readable Events = 1 << iota
	// Writable: a write will not block. It may give an error.
	Writable
	// HungUp: the far end is gone or the descriptor failed. Bytes that came before may still be there to read.
	HungUp
	// ShutDown: the far end writes no more. It may be gone: on a vsock connection with bytes unread and no room to write nothing else
	// says so.
	ShutDown
	// Exceptional: there is an exceptional condition. Some are reported once and are over with that.
	Exceptional
)

// armPause is the longest time between two attempts to have epoll watch a descriptor that it
// refused, because it had no memory or no watch left.
const armPause = 100 * time.Millisecond

// Handler is who is told of a descriptor's events. Ready does a bounded piece of work and does not block. It may close any
// descriptor, its own too.
type Handler interface {
	Ready(ev Events)
}

// Descriptor is a file descriptor on a loop. Embed it in what it belongs to. The zero Descriptor is closed.
//
// What is called of it, of a timer and of a pool in many places is not inlined: it would be 22 kB more, of what is done once for a system call.
type Descriptor struct {
	_       incomparable
	loop    *Loop
	handler Handler
	fd      int
	slot    uint32
	want    Interest // as the handler last said
	armed   Interest // as epoll knows it
	known   bool     // epoll has the descriptor
	queued  *Loop    // on whose dirty list it is
}

// slot outlives the descriptors that come and go in it, so that its generation only ever rises.
type slot struct {
	d          *Descriptor
	generation uint32
}

// doomed is a descriptor closed during a turn; fd is -1 if it was taken back and not closed.
type doomed struct {
	fd   int
	slot uint32
}

// Attach puts fd, which must be non-blocking, on the loop, which owns it from then on. d must be zero or closed. Nothing is waited for before
// [Descriptor.Want].
//
//go:noinline
func (l *Loop) Attach(d *Descriptor, fd int, h Handler) {
	if d.loop != nil {
		panic("reactor: descriptor attached twice")
	}
	var i uint32
	if n := len(l.free); n > 0 {
		i, l.free = l.free[n-1], l.free[:n-1]
	} else {
		i = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[i].d = d
	*d = Descriptor{loop: l, handler: h, fd: fd, slot: i, queued: d.queued}
}

// Open reports whether the descriptor is on a loop.
func (d *Descriptor) Open() bool { return d.loop != nil }

// FD is the descriptor's number, still owned by the loop; -1 once closed.
func (d *Descriptor) FD() int {
	if d.loop == nil {
		return -1
	}
	return d.fd
}

// Want states what to wait for from the next turn on. It is cheap to call with what is wanted already.
//
//go:noinline
func (d *Descriptor) Want(i Interest) {
	if d.loop == nil {
		return
	}
	d.want = i
	if d.want != d.armed && d.queued != d.loop {
		d.queued = d.loop
		d.loop.dirty = append(d.loop.dirty, d)
	}
}

// Close takes the descriptor off the loop: no event reaches its handler any more, not even one of the current batch.
// The number is closed at the end of the turn. Closing again does nothing.
//
//go:noinline
func (d *Descriptor) Close() {
	if d.loop != nil {
		d.leave(d.fd)
	}
}

// shut closes what the descriptor belongs to, which may have more to release.
func (d *Descriptor) shut() {
	if c, ok := d.handler.(interface{ Close() }); ok {
		c.Close()
	}
	d.Close()
}

// disown closes fd, which a handler was given and panicked over, whatever it had made of it by then.
func (l *Loop) disown(fd int) {
	for i := range l.slots {
		if d := l.slots[i].d; d != nil && d.fd == fd {
			d.shut()
			return
		}
	}
	for _, x := range l.doomed {
		if x.fd == fd {
			return
		}
	}
	unix.Close(fd)
}

// Release takes the descriptor off the loop as Close does, and gives it back open; -1 if it is closed already.
func (d *Descriptor) Release() (fd int) {
	if d.loop == nil {
		return -1
	}
	fd = d.fd
	d.leave(-1)
	return fd
}

func (d *Descriptor) leave(doomedFD int) {
	l := d.loop
	if d.known {
		// close(2) would not do: epoll watches the open file, which a child or a duplicate may keep alive.
		unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, d.fd, nil)
	}
	s := &l.slots[d.slot]
	s.d = nil
	s.generation++
	l.doomed = append(l.doomed, doomed{doomedFD, d.slot})
	d.loop, d.want, d.armed, d.known = nil, 0, 0, false
}

// release closes in the kernel what was closed since the last time, and its slots may be taken again. No event may be at hand that
// is still to be dispatched.
func (l *Loop) release() {
	for _, x := range l.doomed {
		if x.fd >= 0 {
			shut(x.fd)
		}
		l.free = append(l.free, x.slot)
	}
	l.doomed = l.doomed[:0]
}

// arm passes the interests that changed to epoll. Those that epoll refuses stay on the list, and the
// next turn tries them again. No handler runs meanwhile, so the list does not grow.
func (l *Loop) arm() {
	refused := l.dirty[:0]
	for _, d := range l.dirty {
		switch {
		case d.loop == l && d.want != d.armed && d.tell() != nil:
			refused = append(refused, d)
		case d.queued == l:
			d.queued = nil
		}
	}
	clear(l.dirty[len(refused):])
	l.dirty = refused
}

// tell derives the epoll_ctl call from what is wanted. A descriptor with no interest is deleted: modified to none it would still
// report a hang-up, at every wait, for ever.
func (d *Descriptor) tell() error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case d.want == 0:
		op = unix.EPOLL_CTL_DEL
	case !d.known:
		op = unix.EPOLL_CTL_ADD
	}
	ev := unix.EpollEvent{Fd: int32(d.slot), Pad: int32(d.loop.slots[d.slot].generation)}
	if d.want&Read != 0 {
		ev.Events |= unix.EPOLLIN
	}
	if d.want&Write != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	if d.want&Shutdown != 0 {
		ev.Events |= unix.EPOLLRDHUP
	}
	if d.want&Exception != 0 {
		ev.Events |= unix.EPOLLPRI
	}
	if err := unix.EpollCtl(d.loop.epfd, op, d.fd, &ev); err != nil {
		return err
	}
	d.armed = d.want
	d.known = d.want != 0
	return nil
}
