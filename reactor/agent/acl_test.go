package agent

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// acl returns an access control list in the kernel's format (linux/posix_acl_xattr.h): the mode
// 0640, and all rights for user 7.
func acl() (b []byte) {
	const none = ^uint32(0)
	b = binary.LittleEndian.AppendUint32(b, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 6, none}, {0x02, 7, 7}, {0x04, 4, none}, {0x10, 7, none}, {0x20, 0, none}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// TestDefaultACL replaces files in a directory whose default ACL every new file inherits. A file
// without an ACL has none afterwards, and a file with an ACL keeps it: a write gives user 7 no
// rights.
func TestDefaultACL(t *testing.T) {
	t.Parallel()
	const access = "system.posix_acl_access"
	b := startBox(t)
	dir := t.TempDir()
	plain, listed := filepath.Join(dir, "plain"), filepath.Join(dir, "listed")
	for _, path := range []string{plain, listed} {
		if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(listed, access, acl(), 0); err != nil {
		t.Skipf("set TMPDIR to a file system with ACLs: %v", err)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl(), 0); err != nil {
		t.Fatal(err)
	}
	h := b.dial()
	for _, path := range []string{plain, listed} {
		var before, after unix.Stat_t
		if err := unix.Stat(path, &before); err != nil {
			t.Fatal(err)
		}
		attrs := xattrs(path)
		h.send(fileFrame(1, path, []byte("new")))
		if reason := h.wrote(1); reason != "" {
			t.Fatal(reason)
		}
		if err := unix.Stat(path, &after); err != nil {
			t.Fatal(err)
		}
		if after.Ino == before.Ino {
			t.Errorf("%s was written in place, want it replaced", path)
		}
		if after.Mode != before.Mode {
			t.Errorf("%s has mode %o, want %o", path, after.Mode, before.Mode)
		}
		if got := xattrs(path); got != attrs {
			t.Errorf("%s has attributes %q, want %q", path, got, attrs)
		}
	}
	b.empty(dir)
}
