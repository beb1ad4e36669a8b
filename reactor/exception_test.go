package reactor

import (
	"testing"

	"golang.org/x/sys/unix"
)

// tcpPair returns the ends of a connection over the loopback. TCP has urgent data.
func tcpPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(err)
		return fd
	}
	listener := socket()
	defer unix.Close(listener)
	check(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(listener, 1))
	at, err := unix.Getsockname(listener)
	check(err)
	theirs = socket()
	check(unix.Connect(theirs, at))
	ours, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	check(err)
	return ours, theirs
}

// TestException holds that only a handler that waits for an exceptional condition gets it. A
// hang-up is reported in addition.
func TestException(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	ours, far := tcpPair(t)
	var d Descriptor
	var told Events
	l.Attach(&d, ours, readyFunc(func(ev Events) { told |= ev }))
	d.Want(Exception)
	quiet(t, l)
	if err := unix.Sendto(far, []byte("!"), unix.MSG_OOB, nil); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the urgent byte", func() bool { return told != 0 })
	if told != Exceptional {
		t.Errorf("Ready(%v), want Exceptional", told)
	}
	step := func(what string, want Interest, expect Events) {
		t.Helper()
		told = 0
		d.Want(want)
		poll(t, l)
		if told != expect {
			t.Errorf("%s: Want(%v) led to Ready(%v), want %v", what, want, told, expect)
		}
	}
	step("urgent", Exception|Write, Exceptional|Writable)
	step("urgent", Read, 0)
	step("urgent", Hangup, 0)
	step("urgent", 0, 0)
	var b [1]byte
	if n, _, err := unix.Recvfrom(ours, b[:], unix.MSG_OOB); n != 1 || err != nil || b[0] != '!' {
		t.Errorf("read the urgent byte %q, %v, want !", b[:n], err)
	}
	step("read", Exception, 0)

	// A reset is a hang-up without an exceptional condition.
	if err := unix.SetsockoptLinger(far, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	closeFD(t, far)
	until(t, l, "the reset", func() bool { return told != 0 })
	step("reset", Exception, HungUp)
}
