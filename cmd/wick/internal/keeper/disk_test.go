package keeper

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// diskStore returns a store without disks. It skips the test where mkfs.ext4 is missing.
func diskStore(t *testing.T) Store {
	t.Helper()
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		if _, err := os.Stat("/usr/sbin/mkfs.ext4"); err != nil {
			t.Skip("it needs mkfs.ext4: run scripts/setup")
		}
	}
	dir := t.TempDir()
	return Store{dir: filepath.Join(dir, "run"), disks: filepath.Join(dir, "state/wick/machines")}
}

// TestDisks makes a disk once, has one user at a time, and lets it grow but not shrink.
func TestDisks(t *testing.T) {
	t.Parallel()
	s := diskStore(t)
	open := func(mib int, readOnly bool) *Disk {
		t.Helper()
		d, err := s.OpenDisk(t.Context(), "data", mib, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	size := func(want int64) {
		t.Helper()
		list, err := s.Disks()
		if err != nil || len(list) != 1 || list[0].Name != "data" || list[0].Size != want<<20 {
			t.Errorf("Disks = %+v, %v, want data of %d MiB", list, err, want)
		}
	}
	d := open(16, false)
	size(16)
	for _, readOnly := range []bool{false, true} {
		if _, err := s.OpenDisk(t.Context(), "data", 0, readOnly); !errors.Is(err, ErrDiskBusy) || !strings.HasPrefix(err.Error(), "disk data: ") {
			t.Errorf("OpenDisk of a disk in use = %v, want ErrDiskBusy", err)
		}
	}
	if list, _ := s.Disks(); len(list) != 1 || !list[0].Busy {
		t.Errorf("Disks = %+v, want a busy one", list)
	}
	if err := s.RemoveDisk("data"); !errors.Is(err, ErrDiskBusy) {
		t.Errorf("RemoveDisk of a disk in use = %v, want ErrDiskBusy", err)
	}
	d.Close()
	open(32, false).Close()
	size(32)
	open(8, false).Close()
	size(32)
	one, two := open(64, true), open(0, true) // readers change nothing
	size(32)
	one.Close()
	two.Close()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(d.Path), "*")); len(left) != 1 {
		t.Errorf("files beside the disk: %q", left)
	}
	if err := s.RemoveDisk("data"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveDisk("data"); err == nil || err.Error() != "remove disk data: there is no such disk" {
		t.Errorf("RemoveDisk of none = %v", err)
	}
	for _, name := range []string{"", "../x", "a/b"} {
		if _, err := s.OpenDisk(t.Context(), name, 1, false); err == nil {
			t.Errorf("OpenDisk(%q) succeeds", name)
		}
		if s.RemoveDisk(name) == nil {
			t.Errorf("RemoveDisk(%q) succeeds", name)
		}
	}
}

// TestDiskMadeTwice has two processes make a disk at once. Both have the one that is made.
func TestDiskMadeTwice(t *testing.T) {
	t.Parallel()
	s := diskStore(t)
	results := make(chan error, 2)
	for range 2 {
		go func() {
			d, err := s.OpenDisk(t.Context(), "data", 16, true)
			if err == nil {
				d.Close()
			}
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
