package agent

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

func TestLog(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	l := NewLog(p[1], LevelInfo)
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

	// Nobody reads: lines are dropped, whole, and counted.
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

// TestLogTerminal has an agent log to a terminal that nobody reads. It serves on, and once somebody reads every line has an end.
func TestLogTerminal(t *testing.T) {
	t.Parallel()
	master, slave, err := openTerminal(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t)
	b.log = NewLog(slave, LevelInfo)
	b.start()
	t.Cleanup(func() {
		b.stop()
		for _, fd := range []int{master, slave, b.log.fd} {
			unix.Close(fd)
		}
	})
	if b.log.fd == slave {
		t.Fatal("it has no file of its own")
	}
	dropped := func() (n int) { b.do(func(*Agent) { n = b.log.dropped }); return n }
	for dropped() < 100 {
		h := b.dial()
		h.send(framing.AppendError(nil, 0, strings.Repeat("\x00", 60+dropped()))) // lines of many lengths
		h.ping(1)
		h.Close()
	}
	// What is read makes room.
	var text []byte
	buf := make([]byte, 64<<10)
	b.until("a whole line at the end", func(*Agent) bool {
		for {
			n, err := unix.Read(master, buf)
			if err != nil {
				break
			}
			text = append(text, buf[:n]...)
		}
		if b.log.dropped > 0 {
			b.log.Info("there is room")
			return false
		}
		return strings.HasSuffix(string(text), "\r\n")
	})
	begin := regexp.MustCompile(`\b(info|warn) `)
	for line := range strings.Lines(string(text)) {
		if begins := begin.FindAllString(line, -1); len(begins) > 1 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("%q", line)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(slave), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Error("the file that the log was given does not wait any more")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, value string
		ok          bool
		want        Config
	}{
		{"--vsock-dial", "off", true, Config{ListenPort: 1000}},
		{"--vsock-dial", "3:5", true, Config{DialCID: 3, DialPort: 5, ListenPort: 1000}},
		{"--vsock-dial", "4294967294:4294967294", true, Config{DialCID: 1<<32 - 2, DialPort: 1<<32 - 2, ListenPort: 1000}},
		{"--vsock-dial", "4294967295:1", false, Config{}},
		{"--vsock-dial", "2:4294967295", false, Config{}},
		{"--vsock-dial", "2:4294967296", false, Config{}},
		{"--vsock-dial", "2:99999999999999999999999", false, Config{}},
		{"--vsock-dial", "2:0", false, Config{}},
		{"--vsock-dial", "2", false, Config{}},
		{"--vsock-dial", "2:", false, Config{}},
		{"--vsock-dial", ":1", false, Config{}},
		{"--vsock-dial", "2:off", false, Config{}},
		{"--vsock-dial", "-1:1", false, Config{}},
		{"--vsock-dial", "", false, Config{}},
		{"--vsock-listen", "off", true, Config{DialCID: 2, DialPort: 1000}},
		{"--vsock-listen", "7", true, Config{DialCID: 2, DialPort: 1000, ListenPort: 7}},
		{"--vsock-listen", "0", false, Config{}},
		{"--vsock-listen", "+1", false, Config{}},
		{"--vsock-listen", "4294967295", false, Config{}},
		{"--unix-socket", "/x", true, Config{UnixSocket: "/x"}},
		{"--unix-socket", "", false, Config{}},
		{"--log-level", "error", true, Config{DialCID: 2, DialPort: 1000, ListenPort: 1000}},
		{"--log-level", "loud", false, Config{}},
	}
	for _, test := range tests {
		var o Options
		if !o.Known(test.name) {
			t.Errorf("%s is not known", test.name)
		}
		known, err := o.Set(test.name, test.value)
		if !known || (err == nil) != test.ok {
			t.Errorf("%s %q: known %v, error %v", test.name, test.value, known, err)
			continue
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), test.name+": ") {
				t.Errorf("%s %q: %v", test.name, test.value, err)
			}
			// An init tells its host, by the ways that it has then.
			if got := o.Config(); got.DialCID != 2 || got.DialPort != 1000 || got.ListenPort != 1000 {
				t.Errorf("%s %q is wrong, and with it %+v", test.name, test.value, got)
			}
			continue
		}
		got := o.Config()
		level := LevelInfo
		if test.value == "error" {
			level = LevelError
		}
		if got.Log.level != level {
			t.Errorf("%s %q: level %d", test.name, test.value, got.Log.level)
		}
		if got.UnixSocket != test.want.UnixSocket || got.DialCID != test.want.DialCID || got.DialPort != test.want.DialPort || got.ListenPort != test.want.ListenPort {
			t.Errorf("%s %q: %+v", test.name, test.value, got)
		}
	}
	var o Options
	if known, err := o.Set("--other", "1"); known || err != nil || o.Known("--other") {
		t.Error("--other is known")
	}
}
