package reactor

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eventBatch is the most events taken by one epoll_wait. The array has 1.5 KiB, and a busy loop
	// spends its time in the handlers.
	eventBatch = 128
	// maxWait bounds one epoll_wait, whose timeout is an int32 of milliseconds.
	maxWait = 24 * time.Hour
)

// Loop is an event loop. It must not be copied.
type Loop struct {
	epfd   int
	events [eventBatch]unix.EpollEvent
	slots  []slot
	free   []uint32      // indexes of the slots without a descriptor
	dirty  []*Descriptor // may differ in wanted and armed interest; during a wait, refused by epoll
	doomed []doomed      // closed during this turn, released at its end
	timers timerHeap
	due    time.Duration // when the last wait ended; timers due by then expire in this turn
	quota  int           // children that this turn may still reap

	children []*Child
	spawner  spawner
	scratch  []byte // the read buffer of every stream that keeps no input
	buffers  *Pool
	stopped  bool
	pulse    pulse
	measures bool          // turns are measured
	longest  time.Duration // the longest turn since LongestTurn
}

// New makes a loop. Its streams take their buffers, at most two each, from a pool that holds the
// given number of buffers of [BufferSize] bytes. The pool takes no memory until it is used. Close
// releases what the loop holds. An error is an *Error.
func New(buffers int) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, wrap("epoll_create", "", err)
	}
	pool, err := NewPool(buffers + 1)
	if err != nil {
		unix.Close(epfd)
		return nil, err
	}
	l := &Loop{epfd: epfd, buffers: pool, scratch: pool.Get(), due: -1, quota: reapBatch}
	if err := l.pulse.open(epfd); err != nil {
		unix.Close(epfd)
		pool.Put(l.scratch)
		pool.Close()
		return nil, err
	}
	return l, nil
}

// Close closes every descriptor that is still attached, stops the timers, and closes the loop. The
// loop must not be running. Children go on running.
func (l *Loop) Close() {
	l.free = nil // a Close may attach a descriptor, which then gets a slot at the end
	for i := 0; i < len(l.slots); i++ {
		if d := l.slots[i].d; d != nil {
			d.closeOwner()
		}
	}
	for len(l.timers) > 0 {
		l.timers[0].Stop()
	}
	l.release()
	l.pulse.close()
	unix.Close(l.epfd)
	l.epfd = -1
	l.buffers.Put(l.scratch)
	l.buffers.Close()
	l.spawner.close()
}

// Scratch returns a buffer of [BufferSize] bytes that any handler may use until it returns. Within
// [StreamHandler.Input] the input may be in it.
func (l *Loop) Scratch() []byte { return l.scratch }

// Run repeats turns until Stop. It fails only if epoll_wait does, which means a bug.
func (l *Loop) Run() error {
	for !l.stopped {
		if err := l.turn(); err != nil {
			return err
		}
	}
	l.stopped = false
	return nil
}

// Stop makes Run return at the end of the turn. If the loop is not running, the next Run returns at
// once.
func (l *Loop) Stop() { l.stopped = true }

func (l *Loop) turn() error {
	l.arm()
	l.release() // descriptors closed outside a turn must not stay open during the wait
	n, err := l.wait()
	if err != nil {
		return err
	}
	began := time.Duration(-1)
	if len(l.timers) > 0 || l.measures {
		began = Now()
	}
	l.due, l.quota = -1, reapBatch
	if len(l.timers) > 0 {
		l.due = began
	}
	for i := range l.events[:n] {
		e := &l.events[i]
		// A slot may have a new owner since the wait. The generation tells the old owner's events.
		if s := &l.slots[e.Fd]; s.d != nil && s.generation == uint32(e.Pad) {
			l.dispatch(s.d, e.Events)
		}
	}
	l.expire()
	l.release()
	if l.measures && began >= 0 {
		l.longest = max(l.longest, Now()-began)
	}
	return nil
}

// LongestTurn returns how long the longest turn since the last call took, without its wait. An
// event may have waited for that long. The turn in which it is called counts for the next call. The
// first call returns 0, because turns are not measured before.
func (l *Loop) LongestTurn() time.Duration {
	longest := l.longest
	l.longest, l.measures = 0, true
	return longest
}

// wait fetches events. A pulse alone ends no turn.
func (l *Loop) wait() (int, error) {
	for {
		n, err := l.poll()
		if n <= 0 {
			return 0, err
		}
		if n = l.pulse.filter(l.events[:n]); n > 0 {
			return n, nil
		}
	}
}

// poll waits, in one of two ways. The runtime's monitor thread looks every 20 µs for a system call
// that may block. It takes the processor away from it, and wakes another thread when the call
// returns. For one ping after another, that costs as much as the pings. A raw system call avoids
// it, but the monitor wakes up every 10 ms meanwhile. So poll uses a raw call while events come.
// When the pulse ends it without one, the next call is an ordinary one that may block. A program
// without a monitor needs no pulse.
func (l *Loop) poll() (int, error) {
	timeout := l.timeout()
	var n int
	var err error
	if l.pulse.start() {
		n, err = pollEvents(l.epfd, l.events[:], timeout)
	} else {
		n, err = unix.EpollWait(l.epfd, l.events[:], timeout)
	}
	if err == unix.EINTR {
		// A signal came, whose eventfd is readable now, or the process was stopped and continued
		// (signal(7)). Events come before the timers that are due, so that a command that ended in
		// time is not reported as timed out.
		n, err = unix.EpollWait(l.epfd, l.events[:], 0)
	}
	if err == unix.EINTR {
		return 0, nil
	}
	return n, wrap("epoll_wait", "", err)
}

// timeout returns how many milliseconds epoll_wait may wait; -1 means for ever.
func (l *Loop) timeout() int {
	switch {
	case l.stopped:
		return 0
	case len(l.timers) == 0 && len(l.dirty) == 0:
		return -1
	}
	longest := maxWait
	if len(l.dirty) > 0 {
		longest = armPause
	}
	if len(l.timers) > 0 {
		longest = min(longest, l.timers[0].when-Now())
	}
	return milliseconds(longest)
}

// milliseconds converts d, rounding up, so that a wait never ends before its timer is due.
func milliseconds(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// dispatch passes an event to the handler, without the conditions it no longer waits for. Another
// handler may have changed the interest since the wait.
func (l *Loop) dispatch(d *Descriptor, raw uint32) {
	defer contain(d.handler, d)
	// A hang-up or an error is reported as Readable and Writable. A read or write returns what came
	// before it, and then says what it is.
	const over = unix.EPOLLHUP | unix.EPOLLERR
	var ev Events
	if raw&(unix.EPOLLIN|over) != 0 && d.want&Read != 0 {
		ev |= Readable
	}
	if raw&(unix.EPOLLOUT|over) != 0 && d.want&Write != 0 {
		ev |= Writable
	}
	if raw&unix.EPOLLRDHUP != 0 && d.want&Shutdown != 0 {
		ev |= ShutDown
	}
	if raw&unix.EPOLLPRI != 0 && d.want&Exception != 0 {
		ev |= Exceptional
	}
	if raw&over != 0 && d.want != 0 {
		ev |= HungUp
	}
	if ev != 0 {
		d.handler.Ready(ev)
	}
}

// Failer is a handler that is told of its own panics and decides what becomes of its descriptor. If
// a handler is no Failer, a panic closes the descriptor whose event it handled, and is dropped.
type Failer interface {
	// Failed is called with the value of a panic in one of the handler's methods, and with its
	// stack.
	Failed(value any, stack []byte)
}

// contain recovers from a panic in a handler, so that it costs at most what the handler stands for.
func contain(handler any, d *Descriptor) {
	value := recover()
	if value == nil {
		return
	}
	f, ok := handler.(Failer)
	switch {
	case ok:
		defer func() { recover() }() // a second panic is dropped
		stack := make([]byte, 4<<10)
		f.Failed(value, stack[:runtime.Stack(stack, false)])
	case d != nil:
		d.Close()
	}
}

// passOn tells handler of a panic, if it is a Failer. The handlers of this package have one behind
// them.
func passOn(handler, value any, stack []byte) {
	if f, ok := handler.(Failer); ok {
		f.Failed(value, stack)
	}
}
