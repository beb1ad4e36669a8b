package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// Interest is the set of conditions that a descriptor waits for.
type Interest uint8

const (
	// Read waits for bytes, a connection, end of file or an error.
	Read Interest = 1 << iota
	// Write waits for room, or an error.
	Write
	// Hangup waits only for the far end to go away. It is for sockets: a pipe without a far end
	// would report it for ever.
	Hangup
	// Shutdown waits for the far end to shut down its writing side, or both sides (EPOLLRDHUP). It
	// is for sockets.
	Shutdown
	// Exception waits for an exceptional condition, which is POLLPRI of poll(2). Triggers of the
	// kernel's pressure files are one, and changes of /proc/mounts, and urgent data of a socket.
	Exception
)

// Events is the set of conditions that a descriptor reports.
type Events uint8

const (
	// Readable means that a read will not block. It may return end of file or an error.
	Readable Events = 1 << iota
	// Writable means that a write will not block. It may return an error.
	Writable
	// HungUp means that the far end is gone or the descriptor failed. Earlier bytes may still be
	// there to read.
	HungUp
	// ShutDown means that the far end will write no more. It may be gone. A vsock connection with
	// unread bytes and no room to write reports nothing else then.
	ShutDown
	// Exceptional means that there is an exceptional condition. Some conditions are reported only
	// once.
	Exceptional
)

// armPause is the longest time between two attempts to watch a descriptor that epoll refused. It
// has no memory or no watch left then.
const armPause = 100 * time.Millisecond

// Handler is told of a descriptor's events. Ready does a bounded amount of work and does not block.
// It may close any descriptor, including its own.
type Handler interface {
	Ready(ev Events)
}

// Descriptor is a file descriptor on a loop. Embed it in the type that uses it. The zero Descriptor
// is closed.
//
// Its methods, and those of Timer and Pool, are called in many places. Inlining them would add 22
// kB, and save nothing worth it beside a system call.
type Descriptor struct {
	_       incomparable
	loop    *Loop
	handler Handler
	fd      int
	slot    uint32
	want    Interest // what the handler waits for
	armed   Interest // what epoll waits for
	known   bool     // epoll has the descriptor
	queued  *Loop    // the loop whose dirty list has it
}

// slot outlives its descriptors, so that its generation never decreases.
type slot struct {
	d          *Descriptor
	generation uint32
}

// doomed is a descriptor that was closed during a turn. fd is -1 if Release took it.
type doomed struct {
	fd   int
	slot uint32
}

// Attach puts fd, which must be non-blocking, on the loop, which owns it from then on. d must be
// zero or closed. It waits for nothing before [Descriptor.Want].
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

// FD returns the file descriptor, which the loop still owns, or -1 if d is closed.
func (d *Descriptor) FD() int {
	if d.loop == nil {
		return -1
	}
	return d.fd
}

// Want sets the conditions to wait for from the next turn on. It is cheap if they do not change.
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

// Close takes the descriptor off the loop. Its handler gets no more events, not even those already
// fetched. The file descriptor is closed at the end of the turn. Closing again does nothing.
//
//go:noinline
func (d *Descriptor) Close() {
	if d.loop != nil {
		d.detach(d.fd)
	}
}

// closeOwner closes the handler, if it can be closed, because it may have more to release.
func (d *Descriptor) closeOwner() {
	if c, ok := d.handler.(interface{ Close() }); ok {
		c.Close()
	}
	d.Close()
}

// closeOrphan closes fd, which was passed to a handler that panicked. The handler may have attached
// or closed it before.
func (l *Loop) closeOrphan(fd int) {
	for i := range l.slots {
		if d := l.slots[i].d; d != nil && d.fd == fd {
			d.closeOwner()
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

// Release takes the descriptor off the loop as Close does, and returns it open; -1 if d is closed.
func (d *Descriptor) Release() (fd int) {
	if d.loop == nil {
		return -1
	}
	fd = d.fd
	d.detach(-1)
	return fd
}

func (d *Descriptor) detach(doomedFD int) {
	l := d.loop
	if d.known {
		// close(2) is not enough, because epoll watches the open file, which a child or a duplicate
		// may keep.
		unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, d.fd, nil)
	}
	s := &l.slots[d.slot]
	s.d = nil
	s.generation++
	l.doomed = append(l.doomed, doomed{doomedFD, d.slot})
	d.loop, d.want, d.armed, d.known = nil, 0, 0, false
}

// release closes the descriptors that were closed since the last time, and frees their slots. No
// fetched event may be left to dispatch.
func (l *Loop) release() {
	for _, x := range l.doomed {
		if x.fd >= 0 {
			shut(x.fd)
		}
		l.free = append(l.free, x.slot)
	}
	l.doomed = l.doomed[:0]
}

// arm passes the interests that changed to epoll. The list keeps what epoll refuses, and the next
// turn retries it. No handler runs meanwhile, so the list does not grow.
func (l *Loop) arm() {
	refused := l.dirty[:0]
	for _, d := range l.dirty {
		switch {
		case d.loop == l && d.want != d.armed && d.updateEpoll() != nil:
			refused = append(refused, d)
		case d.queued == l:
			d.queued = nil
		}
	}
	clear(l.dirty[len(refused):])
	l.dirty = refused
}

// updateEpoll makes epoll wait for what is wanted. It deletes a descriptor that waits for nothing.
// If it were modified instead, epoll_wait would report its hang-up every time.
func (d *Descriptor) updateEpoll() error {
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
