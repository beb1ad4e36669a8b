package launch

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// TestReadFilter reads files of all lengths that matter.
func TestReadFilter(t *testing.T) {
	t.Parallel()
	const most = framing.MaxFilter * framing.FilterSize
	for size, ok := range map[int]bool{0: false, 7: false, 8: true, 12: false, most: true, most + 8: false} {
		path := filepath.Join(t.TempDir(), "filter")
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := ReadFilter(path)
		if ok && (err != nil || len(b) != size) || !ok && !sys.IsErrno(err, unix.EINVAL) {
			t.Errorf("ReadFilter of %d bytes = %d bytes, %v", size, len(b), err)
		}
	}
	if _, err := ReadFilter(t.TempDir() + "/none"); !sys.IsErrno(err, unix.ENOENT) {
		t.Errorf("ReadFilter of nothing: %v", err)
	}
}

// TestConfine holds which namespaces a confinement makes, implies and joins.
func TestConfine(t *testing.T) {
	t.Parallel()
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	join := func(id uint64) (int, uintptr) {
		if id == 7 {
			return 9, all
		}
		return 0, 0
	}
	for _, test := range []struct {
		name        string
		add         func(*framing.Confinement)
		own, joined uintptr
	}{
		{"namespaces", func(c *framing.Confinement) { c.Namespaces(0x3f) }, all | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP, 0},
		{"a mask", func(c *framing.Confinement) { c.Mask("/proc/kcore") }, unix.CLONE_NEWNS, 0},
		{"the machine's root", func(c *framing.Confinement) { c.Root(0, "/") }, 0, 0},
		{"read-only", func(c *framing.Confinement) { c.Root(framing.RootReadOnly, "") }, unix.CLONE_NEWNS, 0},
		{"all of another", func(c *framing.Confinement) { c.Join(7, 0) }, 0, all},
		{"some of another", func(c *framing.Confinement) {
			c.Join(7, framing.NamespaceNetwork|framing.NamespaceIPC)
			c.Namespaces(framing.NamespacePID)
		}, unix.CLONE_NEWPID, unix.CLONE_NEWNET},
	} {
		var c framing.Confinement
		test.add(&c)
		var spec reactor.Command
		if failure := Confine(&spec, c, -1, join); failure != nil {
			t.Errorf("%s: %v", test.name, failure.Err)
			continue
		}
		if r := spec.Confinement; r.Namespaces != test.own || r.Joined != test.joined || r.Umask != -1 {
			t.Errorf("%s: own %#x, joined %#x, umask %d, want %#x, %#x and -1", test.name, r.Namespaces, r.Joined, r.Umask, test.own, test.joined)
		}
	}
	var c framing.Confinement
	c.Join(8, 0)
	if f := Confine(new(reactor.Command), c, -1, join); f == nil || f.Stage != framing.StageNamespace || f.Errno() != unix.ESRCH {
		t.Errorf("joining nothing: %+v", f)
	}
}
