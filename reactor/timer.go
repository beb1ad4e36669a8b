package reactor

import (
	"container/heap"
	"math"
	"time"
)

// TimerHandler is who is told that a timer is due.
type TimerHandler interface {
	// Expired is called once for each Start, on the loop's goroutine, never from within Start. The timer is idle again by then.
	Expired(t *Timer)
}

// Timer is one timer on a loop, for [Loop.Start]. Embed it in what it belongs to. The zero Timer is idle.
type Timer struct {
	_       incomparable
	loop    *Loop
	handler TimerHandler
	when    time.Duration
	index   int // in the heap
}

// incomparable is in what nobody compares. For every type that has it within the compiler makes no function that does, which none would call:
// the type's description alone keeps it.
type incomparable [0]func()

// epoch is what Now counts from.
var epoch = time.Now()

// Now is the time of CLOCK_MONOTONIC since the program started: setting the clock does not move it, and it stands while
// the machine is paused. It is a Duration because a time.Time within a handler would link its 40 kB of calendar.
//
//go:noinline
func Now() time.Duration { return time.Since(epoch) }

// Start makes the timer due after d, at the earliest in the next turn, be d negative; d is rounded up to a millisecond. A running
// timer is moved.
func (l *Loop) Start(t *Timer, d time.Duration, h TimerHandler) {
	t.Stop()
	at := Now()
	d = min(max(d, 0), math.MaxInt64-at)
	*t = Timer{loop: l, handler: h, when: max(at+d, l.due+1)}
	heap.Push(&l.timers, t)
}

// Stop makes the timer idle.
//
//go:noinline
func (t *Timer) Stop() {
	if t.loop != nil {
		heap.Remove(&t.loop.timers, t.index)
		t.loop = nil
	}
}

// Running reports whether the timer will expire.
func (t *Timer) Running() bool { return t.loop != nil }

// expire calls the timers that were due when the wait ended. None that was started since is: however coarse the clock and short
// the delay, a handler that starts its timer anew does not hold up the turn.
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

// timerHeap is a heap.Interface, the earliest first.
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
