package log_test

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
)

// TestTerminal logs to a terminal that is not read. No write waits, the lines that do not fit
// are counted, and every line that is there has an end.
func TestTerminal(t *testing.T) {
	t.Parallel()
	master, slave, err := launch.OpenTerminal(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	l := log.New(slave, log.LevelInfo)
	l.Separate()
	for _, fd := range []int{master, slave, l.FD()} {
		defer unix.Close(fd)
	}
	if l.FD() == slave {
		t.Fatal("the log has no open file of its own")
	}
	for n := 0; l.Dropped() < 100; n++ {
		l.Warn(strings.Repeat("x", n%200)) // lines of many lengths
	}
	// A read makes room, in which the count comes first.
	var text []byte
	buf := make([]byte, 64<<10)
	for l.Dropped() > 0 || !strings.HasSuffix(string(text), "\r\n") {
		n, err := unix.Read(master, buf)
		if err == unix.EAGAIN {
			l.Info("there is room")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, buf[:n]...)
	}
	begin := regexp.MustCompile(`\b(info|warn) `)
	for line := range strings.Lines(string(text)) {
		if len(begin.FindAllString(line, -1)) > 1 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("line %q, want one that begins once and has an end", line)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(slave), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags of the file that the log was given: %#x, %v, want it to wait as before", flags, err)
	}
}
