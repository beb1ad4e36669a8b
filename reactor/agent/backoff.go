package agent

import (
	"time"

	"wick/reactor"
)

// backoff is the wait between tries: 10 ms, doubling to 1 s, and from the beginning again after a success.
type backoff struct {
	timer reactor.Timer
	last  time.Duration
}

// start lets h expire after the next wait.
//
//go:noinline
func (b *backoff) start(l *reactor.Loop, h reactor.TimerHandler) {
	b.last = min(max(2*b.last, minBackoff), maxBackoff)
	l.Start(&b.timer, b.last, h)
}

// reset makes the next wait the shortest.
func (b *backoff) reset() { b.last = 0 }

func (b *backoff) stop() { b.timer.Stop() }
