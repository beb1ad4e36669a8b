package command

import (
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/files"
)

// TestHeldEnd writes the last bytes of an output and closes the command's end of it. While the
// agent holds an end too this wakes nothing up. At the exit the bytes and the end are read at once.
func TestHeldEnd(t *testing.T) {
	t.Parallel()
	loop, err := reactor.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	s := &Service{Config: Config{Loop: loop, Disk: &files.Disk{}, Spool: 1}}
	if s.captures, err = reactor.NewPool(1); err != nil {
		t.Fatal(err)
	}
	defer s.captures.Close()
	var o capture
	w, err := o.open(s, &command{service: s})
	if err != nil {
		t.Fatal(err)
	}
	defer o.release()
	o.held = w
	theirs, err := unix.FcntlInt(uintptr(w), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Write(theirs, []byte("last words"))
	unix.Close(theirs)
	p := []unix.PollFd{{Fd: int32(o.pipe.FD()), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil || p[0].Revents != unix.POLLIN {
		t.Errorf("poll tells %#x, %v of the output of a command that runs, want POLLIN alone", p[0].Revents, err)
	}
	o.readEnd()
	if !o.drained() || o.kept != 10 || o.held != 0 || o.pipe.Open() {
		t.Errorf("after the exit: over %v, %d bytes kept, an end held: %v; want true, 10, false", o.drained(), o.kept, o.held != 0)
	}
}
