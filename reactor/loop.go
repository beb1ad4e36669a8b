package reactor

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eventBatch is the most events taken by one epoll_wait: 1.5 KiB, and enough that a busy loop spends its time in
	// the handlers.
	eventBatch = 128
	// maxWait bounds one epoll_wait, whose timeout is 32 bits of milliseconds.
	maxWait = 24 * time.Hour
)

// Loop is the event loop. It must not be copied.
type Loop struct {
	epfd   int
	events [eventBatch]unix.EpollEvent
	slots  []slot
	free   []uint32      // indexes of the slots without a descriptor
	dirty  []*Descriptor // wanted and armed interest may differ; during a wait, those that epoll refused
	doomed []doomed      // closed during this turn, released at its end
	timers timerHeap
	due    time.Duration // the timers that this turn expires; none that is started in it
	quota  int           // children that this turn may still reap

	children []*Child
	spawner  spawner
	scratch  []byte // the read buffer of every stream that has nothing kept over
	buffers  *Pool
	stopped  bool
	lively   bool // the last wait had events
}

// New makes a loop whose streams take their buffers from a pool of the given number of buffers of [BufferSize] bytes: up to
// two for each stream. The memory is address space until it is used. Close releases what the loop holds. The error is an *Error.
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
	return &Loop{epfd: epfd, buffers: pool, scratch: pool.Get(), due: -1, quota: reapBatch}, nil
}

// Close closes every descriptor still attached, stops the timers, and closes the loop, which must not be running. Children are
// left to run.
func (l *Loop) Close() {
	l.free = nil // closing one may attach another, which then gets a slot at the end
	for i := 0; i < len(l.slots); i++ {
		if d := l.slots[i].d; d != nil {
			d.shut()
		}
	}
	for len(l.timers) > 0 {
		l.timers[0].Stop()
	}
	l.release()
	unix.Close(l.epfd)
	l.epfd = -1
	l.buffers.Put(l.scratch)
	l.buffers.Close()
	l.spawner.close()
}

// Scratch is a buffer of [BufferSize] bytes that any handler may use until it returns. Within [StreamHandler.Input] it may
// be what the input lies in.
func (l *Loop) Scratch() []byte { return l.scratch }

// Run turns the loop until Stop. The error is epoll's own, and there is none that a sound program can get.
func (l *Loop) Run() error {
	for !l.stopped {
		if err := l.turn(); err != nil {
			return err
		}
	}
	l.stopped = false
	return nil
}

// Stop makes Run return at the end of the turn; the next Run, if none is under way.
func (l *Loop) Stop() { l.stopped = true }

func (l *Loop) turn() error {
	l.arm()
	l.release() // what was closed outside a turn does not stay open for as long as nothing happens
	n, err := l.wait()
	if err != nil {
		return err
	}
	l.due, l.quota = -1, reapBatch
	if len(l.timers) > 0 {
		l.due = Now()
	}
	for i := range l.events[:n] {
		e := &l.events[i]
		// The generation tells an event of this descriptor from one that was fetched for an earlier owner of the slot.
		if s := &l.slots[e.Fd]; s.d != nil && s.generation == uint32(e.Pad) {
			l.dispatch(s.d, e.Events)
		}
	}
	l.expire()
	l.release()
	return nil
}

// wait fetches events, in one of two ways. A system call that the runtime knows to block has it look 20 us later whether the
// processor is wanted elsewhere, take it away, and wake a thread of its own when the call returns: for a host that sends one ping after the
// other that is as much work again as a ping. One that it does not know of is interrupted by its preemption signal after 10 ms,
// and again and again for as long as nothing happens. So while events come the wait is of the second kind, and the signal is what
// ends it when they no longer do; then it is of the first, for as long as it takes.
func (l *Loop) wait() (int, error) {
	timeout := l.timeout()
	var n int
	var err error
	if l.lively {
		n, err = pollEvents(l.epfd, l.events[:], timeout)
	} else {
		n, err = unix.EpollWait(l.epfd, l.events[:], timeout)
	}
	if err == unix.EINTR {
		// A signal, whose eventfd is readable now; or the process was stopped and goes on (signal(7)). What has happened comes before the
		// timers that are due: a command that ended in time must not be found too late.
		n, err = unix.EpollWait(l.epfd, l.events[:], 0)
	}
	l.lively = n > 0
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

// milliseconds rounds up, so that a wait never ends before its timer is due.
func milliseconds(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// dispatch tells the handler of what it still wants to know: another's handler may have changed that since the wait.
func (l *Loop) dispatch(d *Descriptor, raw uint32) {
	defer contain(d.handler, d)
	// What a hang-up or an error is, reading or writing tells, and what came before it is still to be read.
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

// Failer is a handler that wants to know of its own panics, and decides what becomes of its descriptor. Without it a
// panic closes the descriptor it happened on, if any, and is forgotten.
type Failer interface {
	// Failed is called with the value of a panic in one of the handler's methods, and the stack it came from.
	Failed(value any, stack []byte)
}

// contain keeps a panic in a handler from ending the process: it costs at most what the handler stands for.
func contain(handler any, d *Descriptor) {
	value := recover()
	if value == nil {
		return
	}
	f, ok := handler.(Failer)
	switch {
	case ok:
		defer func() { recover() }() // a second one has nobody left to tell
		stack := make([]byte, 4<<10)
		f.Failed(value, stack[:runtime.Stack(stack, false)])
	case d != nil:
		d.Close()
	}
}

// passOn tells the handler behind one of this package's own of its panic.
func passOn(handler, value any, stack []byte) {
	if f, ok := handler.(Failer); ok {
		f.Failed(value, stack)
	}
}
