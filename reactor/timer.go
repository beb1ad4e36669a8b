package reactor

import (
	"container/heap"
	"time"
)

// TimerHandler is who is told that a timer is due.
type TimerHandler interface {
	// Expired is called once for each Start, on the loop's goroutine, never from within Start. The timer is idle again by then.
	Expired(t *Timer)
}

// Timer is one timer on a loop, for [Loop.Start]. Embed it in what it belongs to. The zero Timer is idle.
type Timer struct {
	loop    *Loop
	handler TimerHandler
	when    time.Duration
	index   int // in the heap
}

// epoch is what now counts from.
var epoch = time.Now()

// now is the time of CLOCK_MONOTONIC since the program started: setting the clock does not move it, and it stands while
// the machine is paused.
func now() time.Duration { return time.Since(epoch) }

// Start makes the timer due after d, at the earliest in the next turn; d is rounded up to a millisecond. A running
// timer is moved.
func (l *Loop) Start(t *Timer, d time.Duration, h TimerHandler) {
	t.Stop()
	*t = Timer{loop: l, handler: h, when: now() + max(d, 0)}
	heap.Push(&l.timers, t)
}

// Stop makes the timer idle.
func (t *Timer) Stop() {
	if t.loop != nil {
		heap.Remove(&t.loop.timers, t.index)
		t.loop = nil
	}
}

// Running reports whether the timer will expire.
func (t *Timer) Running() bool { return t.loop != nil }

// expire calls the timers that are due at its start: one that a handler starts anew has to wait for the next turn.
func (l *Loop) expire() {
	if len(l.timers) == 0 {
		return
	}
	for at := now(); len(l.timers) > 0 && l.timers[0].when <= at; {
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
