package files

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestLongAttribute lists an attribute whose value fits no frame.
func TestLongAttribute(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp("/dev/shm", "wick-test-") // ext4 holds no long attributes
	if err != nil {
		t.Skipf("no tmpfs to make an attribute on: mount one on /dev/shm (%v)", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := unix.Fsetxattr(int(f.Fd()), "trusted.wick", make([]byte, 40_000), 0); err != nil {
		t.Skipf("trusted attributes need root: run the tests as root (%v)", err)
	}
	r := newRoom(t, nil)
	h := r.Dial()
	list := framing.List{Credit: 1 << 20, Flags: framing.FileAttributes, Path: []byte(f.Name())}
	h.Send(framing.AppendList(nil, 1, &list))
	d, err := framing.ParseDone(h.Want(framing.TypeDone, 1))
	if err != nil || unix.Errno(d.Errno) != unix.E2BIG {
		t.Errorf("a list with an attribute of 40,000 bytes ends with %v, %v, want E2BIG", unix.Errno(d.Errno), err)
	}
}
