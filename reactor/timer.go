package reactor

import (
	"container/heap"
	"math"
	"time"
)

// TimerHandler is told when a timer is due.
type TimerHandler interface {
	// Expired is called once for each Start, on the loop's goroutine, and never from within Start.
	// The timer is idle by then.
	Expired(t *Timer)
}

// Timer is one timer on a loop, for [Loop.Start]. Embed it in the type that uses it. The zero Timer
// is idle.
type Timer struct {
	_       incomparable
	loop    *Loop
	handler TimerHandler
	when    time.Duration
	index   int // in the loop's heap
}

// incomparable makes a struct type incomparable. The compiler then generates no comparison
// function, which would be linked though no code calls it.
type incomparable [0]func()

// epoch is the zero of Now.
var epoch = time.Now()

// Now returns the time of CLOCK_MONOTONIC since the program started. Setting the clock does not
// change it, and it does not advance while the machine is paused. It is a Duration, because a
// time.Time in a handler would link its calendar, which has 40 kB.
//
//go:noinline
func Now() time.Duration { return time.Since(epoch) }

// Start makes the timer due after d, which is rounded up to a millisecond, but not before the next
// turn. It restarts a timer that is running.
func (l *Loop) Start(t *Timer, d time.Duration, h TimerHandler) {
	t.Stop()
	at := Now()
	d = min(max(d, 0), math.MaxInt64-at)
	*t = Timer{loop: l, handler: h, when: max(at+d, l.due+1)}
	heap.Push(&l.timers, t)
}

// Stop makes the timer idle. It does nothing if it is.
//
//go:noinline
func (t *Timer) Stop() {
	if t.loop != nil {
		heap.Remove(&t.loop.timers, t.index)
		t.loop = nil
	}
}

// Running reports whether the timer is going to expire.
func (t *Timer) Running() bool { return t.loop != nil }

// expire runs the timers that were due when the wait ended. A timer started since then has to wait
// for the next turn, so a handler that restarts its timer cannot hold up this one.
func (l *Loop) expire() {
	for len(l.timers) > 0 && l.timers[0].when <= l.due {
		t := l.timers[0]
		h := t.handler
		t.Stop()
		func() {
			defer contain(h, nil)
			h.Expired(t)
		}()
	}
}

// timerHeap is a heap.Interface with the earliest timer first.
type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = nil
	*h = old[:n]
	return t
}
