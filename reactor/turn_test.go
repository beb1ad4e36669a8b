package reactor

import (
	"testing"
	"time"
)

// slowTimer takes a while.
type slowTimer struct{ l *Loop }

func (s slowTimer) Expired(*Timer) {
	for end := Now() + 20*time.Millisecond; Now() < end; {
	}
	s.l.Stop()
}

// TestLongestTurn has a turn that takes 20 ms, before and after turns are measured.
func TestLongestTurn(t *testing.T) {
	l, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var timer Timer
	for i, measured := range []bool{false, true, true} {
		l.Start(&timer, 0, slowTimer{l})
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		if got := l.LongestTurn(); (got >= 20*time.Millisecond) != measured || !measured && got != 0 {
			t.Errorf("run %d: the longest turn took %v, want at least 20 ms: %v", i, got, measured)
		}
	}
	if got := l.LongestTurn(); got != 0 {
		t.Errorf("without a turn the longest took %v, want 0", got)
	}
}
