package link

import (
	"time"

	"wick/reactor"
)

const (
	// minBackoff is the first wait before another attempt to reach the host. It doubles up to
	// MaxBackoff.
	minBackoff = 10 * time.Millisecond
	// MaxBackoff is the longest wait.
	MaxBackoff = time.Second
	// uselessBackoff limits the wait after a connection that the host closed without a frame.
	uselessBackoff = 100 * time.Millisecond
)

// backoff is the wait between attempts. It doubles from 10 ms to 1 s, and starts over after a
// success. After a connection that was of no use it is 100 ms at most.
type backoff struct {
	timer reactor.Timer
	last  time.Duration
}

// start calls h after the next wait.
func (b *backoff) start(l *reactor.Loop, h reactor.TimerHandler) { b.within(MaxBackoff, l, h) }

// lost calls h after the next wait. The connection has ended, and useful says whether it served the
// host.
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
