package reactor

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTimerOrder(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var timers [3]Timer
	var order []int
	for i, d := range []time.Duration{3, 1, 2} {
		l.Start(&timers[i], d*time.Millisecond, expiredFunc(func(tm *Timer) {
			if tm != &timers[i] || tm.Running() {
				t.Error("Expired got another timer, or one that still runs")
			}
			order = append(order, i)
		}))
	}
	until(t, l, "the timers", func() bool { return len(order) == 3 })
	if !slices.Equal(order, []int{1, 2, 0}) {
		t.Errorf("the order is %v, want 1, 2, 0", order)
	}
}

func TestTimerNeverEarly(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	for _, d := range []time.Duration{0, 1, time.Microsecond, 999 * time.Microsecond, 1500 * time.Microsecond, 7 * time.Millisecond} {
		var tm Timer
		var took time.Duration
		start := time.Now()
		l.Start(&tm, d, expiredFunc(func(*Timer) { took = time.Since(start) }))
		turns := until(t, l, "the timer", func() bool { return took != 0 })
		if took < d || turns > fewTurns {
			t.Errorf("a timer of %v took %v and %d turns, want %d turns at most", d, took, turns, fewTurns)
		}
	}
}

// TestTimerStoppedInTheBatch has a handler stop and restart timers that are due in the same turn.
func TestTimerStoppedInTheBatch(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var first, stopped, moved, last Timer
	never := expiredFunc(func(*Timer) { t.Error("a stopped timer expired") })
	done := false
	l.Start(&first, 0, expiredFunc(func(*Timer) {
		stopped.Stop()
		stopped.Stop()
		l.Start(&moved, time.Hour, never)
	}))
	l.Start(&stopped, 1*time.Microsecond, never)
	l.Start(&moved, 2*time.Microsecond, never)
	l.Start(&last, 3*time.Microsecond, expiredFunc(func(*Timer) { done = true }))
	for Now() <= last.when { // so that all are due in the same turn on any machine
	}
	poll(t, l)
	if !done || stopped.Running() || !moved.Running() || len(l.timers) != 1 {
		t.Errorf("last expired %v, stopped runs %v, moved runs %v, %d timers; want true, false, true, 1",
			done, stopped.Running(), moved.Running(), len(l.timers))
	}
	moved.Stop()
}

// TestTimerModel starts, restarts and stops ten thousand timers at random, and compares them with a
// sorted list.
func TestTimerModel(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	r := rand.New(rand.NewPCG(1, 2))
	timers := make([]Timer, 10000)
	var order []*Timer
	h := expiredFunc(func(tm *Timer) { order = append(order, tm) })
	for range 3 * len(timers) {
		tm := &timers[r.IntN(len(timers))]
		if r.IntN(4) == 0 {
			tm.Stop()
		} else {
			l.Start(tm, time.Duration(r.Int64N(int64(20*time.Millisecond))), h)
		}
	}
	var model []*Timer
	for i := range timers {
		if timers[i].Running() {
			model = append(model, &timers[i])
		}
	}
	if len(model) != len(l.timers) {
		t.Fatalf("%d timers in the heap, want %d", len(l.timers), len(model))
	}
	slices.SortFunc(model, func(a, b *Timer) int { return cmp.Compare(a.when, b.when) })
	until(t, l, "the timers", func() bool { return len(order) == len(model) })
	for i, tm := range order {
		if tm.when != model[i].when {
			t.Fatalf("timer %d is due at %v, want %v", i, tm.when, model[i].when)
		}
	}
}

func TestTimerStartAllocatesNothing(t *testing.T) {
	l := newLoop(t, 0)
	var a, b Timer
	h := expiredFunc(func(*Timer) {})
	l.Start(&a, time.Hour, h)
	if got := testing.AllocsPerRun(1000, func() {
		l.Start(&b, time.Minute, h)
		b.Stop()
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
