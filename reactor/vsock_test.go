package reactor

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests use connections over vsock from this machine to itself. Few kernels have the vsock
// loopback. The guest of cmd/wick/internal/guesttest has it, and runs these tests too.

// vsockPair returns the ends of a connection to that port, which no other test uses.
func vsockPair(t *testing.T, l *Loop, port uint32) (near, far *hand) {
	t.Helper()
	fd, err := ListenVsock(port)
	if err != nil {
		t.Skipf("%v: this kernel has no vsock; build it with CONFIG_VSOCKETS", err)
	}
	var g gate
	var ln Listener
	l.Listen(&ln, fd, VsockName(unix.VMADDR_CID_ANY, port), &g)
	var c call
	l.DialVsock(&c.d, unix.VMADDR_CID_LOCAL, port, &c)
	until(t, l, "an answer", func() bool { return len(c.errs) > 0 || c.fd != 0 && len(g.fds) > 0 })
	if len(c.errs) > 0 {
		t.Skipf("%v: no vsock loopback; load the module vsock_loopback", c.errs[0])
	}
	near, far = &hand{}, &hand{}
	near.s.Open(l, c.fd, "near", near)
	far.s.Open(l, g.fds[0], "far", far)
	near.say("hello")
	until(t, l, "hello", func() bool { return string(far.got) == "hello" })
	return near, far
}

func TestVsock(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	near, far := vsockPair(t, l, 51234)
	far.say("unread")
	far.s.Close()
	until(t, l, "the end", func() bool { return len(near.ends) > 0 })
	if string(near.got) != "unread" {
		t.Errorf("got %q before the end, want unread", near.got)
	}
}

// TestVsockClosed closes the far end. A read returns an orderly end then, and the kernel never
// reports a hang-up. So the stream probes at once.
func TestVsockClosed(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 4)
	near, far := vsockPair(t, l, 51235)
	far.s.Close()
	until(t, l, "the end", func() bool { return len(near.ends) > 0 })
	wantGone(t, near)
}

// TestVsockHalfClosedThenGone shuts down the far end's writing side and closes it later. The stream
// probes until then, whether or not the end was read, and whether or not the far end has unread
// bytes.
func TestVsockHalfClosedThenGone(t *testing.T) {
	t.Parallel()
	for i, test := range []struct {
		name         string
		paused, full bool
	}{
		{"end read", false, false},
		{"end read, output waits", false, true},
		{"not read", true, false},
		{"not read, output waits", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLoop(t, 4)
			near, far := vsockPair(t, l, 51236+uint32(i))
			far.s.Pause()
			if test.paused {
				near.s.Pause()
				far.say("unread")
			}
			if test.full {
				fill(t, near.s.FD())
				near.say("still due")
			}
			if err := unix.Shutdown(far.s.FD(), unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			until(t, l, "a probe", near.s.probeTimer.Running)
			if !test.paused {
				until(t, l, "the end", func() bool { return len(near.ends) > 0 })
			}
			if !near.s.Descriptor.Open() {
				t.Fatalf("ends %v while the far end still reads, want no error", near.ends)
			}
			quiet(t, l)
			far.s.Close()
			until(t, l, "the far end's going away", func() bool { return !near.s.Descriptor.Open() })
			if test.paused {
				near.ends = append([]error{nil}, near.ends...) // the end was not read
			}
			wantGone(t, near)
		})
	}
}

// wantGone fails the test unless h was told of the end and then that the far end is gone.
func wantGone(t *testing.T, h *hand) {
	t.Helper()
	if len(h.ends) != 2 || h.ends[0] != nil || h.ends[1] == nil || judge(errors.Unwrap(h.ends[1])) != gone || h.s.Descriptor.Open() {
		t.Errorf("ends %v, open %v, want nil, an error that the far end is gone, and false",
			h.ends, h.s.Descriptor.Open())
	}
}
