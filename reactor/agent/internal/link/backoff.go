package link

import (
	"time"

	"wick/reactor"
)

const (
	// minBackoff is the first wait between tries to reach the host. It doubles up to MaxBackoff.
	minBackoff = 10 * time.Millisecond
	// MaxBackoff is the longest wait.
	MaxBackoff = time.Second
	// uselessBackoff bounds the wait after a connection that its host ended without a word.
	uselessBackoff = 100 * time.Millisecond
)

// backoff is the wait between tries: 10 ms, doubling to 1 s, and from the beginning again after a success. The longest
// wait is 100 ms after a connection that was made and was of no use.
type backoff struct {
	timer reactor.Timer
	last  time.Duration
}

// start lets h expire after the next wait.
func (b *backoff) start(l *reactor.Loop, h reactor.TimerHandler) { b.within(MaxBackoff, l, h) }

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
