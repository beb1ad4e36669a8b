package agent

import (
	"time"

	"wick/reactor"
)

// backoff is the wait between tries: 10 ms, doubling to 1 s, and from the beginning again after a success. The longest
// wait is 100 ms after a connection that was made and was of no use.
type backoff struct {
	timer reactor.Timer
	last  time.Duration
}

// start lets h expire after the next wait.
//
//go:noinline
func (b *backoff) start(l *reactor.Loop, h reactor.TimerHandler) { b.within(maxBackoff, l, h) }

// lost is start for a connection that has ended, and was useful or not.
func (b *backoff) lost(useful bool, l *reactor.Loop, h reactor.TimerHandler) {
	if useful {
		b.reset()
	}
	b.within(uselessBackoff, l, h)
}

func (b *backoff) within(longest time.Duration, l *reactor.Loop, h reactor.TimerHandler) {
	b.last = min(max(2*b.last, minBackoff), longest)
	l.Start(&b.timer, b.last, h)
}

// reset makes the next wait the shortest.
func (b *backoff) reset() { b.last = 0 }

func (b *backoff) stop() { b.timer.Stop() }
