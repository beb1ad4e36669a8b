package agent

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/launch"
)

// TestLogTerminal has an agent log to a terminal that nobody reads. It serves on, and once somebody reads every line has an end.
func TestLogTerminal(t *testing.T) {
	t.Parallel()
	master, slave, err := launch.OpenTerminal(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t)
	b.log = NewLog(slave, LevelInfo)
	b.start()
	t.Cleanup(func() {
		b.stop()
		for _, fd := range []int{master, slave, b.log.FD()} {
			unix.Close(fd)
		}
	})
	if b.log.FD() == slave {
		t.Fatal("it has no file of its own")
	}
	dropped := func() (n int) { b.do(func(*Agent) { n = b.log.Dropped() }); return n }
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
		if b.log.Dropped() > 0 {
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
		if !got.Log.Enabled(level) || got.Log.Enabled(level+1) {
			t.Errorf("%s %q: the level is not %d", test.name, test.value, level)
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
