package log

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLog(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	l := New(p[1], LevelInfo)
	buf := make([]byte, 1<<20)
	tests := []struct {
		value, want string
	}{
		{"plain", "plain"},
		{"", `""`},
		{"two words", `"two words"`},
		{"a=b", `"a=b"`},
		{`say "x\y"`, `"say \"x\\y\""`},
		{"line\nline", `"line\nline"`},
		{"\x00\x1b\x7f", `"\x00\x1b\x7f"`},
		{"é", `"é"`},
	}
	for _, test := range tests {
		l.Warn("message", "key", test.value, "n", "1")
		n, _ := unix.Read(p[0], buf)
		if got, want := string(buf[:n]), "warn message key="+test.want+" n=1\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	l.Debug("not at this level")
	if l.Enabled(LevelDebug) || !l.Enabled(LevelInfo) {
		t.Error("wrong levels")
	}

	// Without a reader, whole lines are dropped and counted.
	for range 3000 {
		l.Error("x", "filler", strings.Repeat("y", 100))
	}
	if l.dropped == 0 {
		t.Error("nothing was dropped")
	}
	for n := 1; n > 0; {
		p := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}
		if n, _ = unix.Poll(p, 0); n > 0 {
			unix.Read(int(p[0].Fd), buf)
		}
	}
	l.Error(strings.Repeat("z", 2*maxLine))
	n, _ := unix.Read(p[0], buf)
	if got := string(buf[:n]); n != maxLine || !strings.HasSuffix(got, "\n") || l.dropped != 0 {
		t.Errorf("a line of %d bytes", n)
	}
	l.Error("end")
	n, _ = unix.Read(p[0], buf)
	if got := string(buf[:n]); got != "error end\n" {
		t.Errorf("%q", got)
	}
}

// TestKept keeps the newest warnings and errors, also those that cannot be written, and no others.
func TestKept(t *testing.T) {
	t.Parallel()
	l := New(-1, LevelInfo) // every write fails
	l.Warn("before")
	l.Keep(100)
	l.Info("other")
	l.Error("first", "text", strings.Repeat("x", 200)) // longer than all that is kept
	for i := range 20 {
		l.Warn("line", "n", string(rune('a'+i)))
	}
	if got := l.Kept(); !strings.HasSuffix(got, " n=s\nwarn line dropped=22 n=t\n") || len(got) > 100 || len(got) < 70 || !strings.HasPrefix(got, "warn line ") {
		t.Errorf("Kept() = %q, want the newest lines", got)
	}
}
