package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"wick/cmd/wick/internal/image"
)

// DefaultDisk is the size of a new disk in MiB. The file is sparse, so it uses only what the guest
// writes.
const DefaultDisk = 4096

// ErrDiskBusy is wrapped by the error for a disk that a machine uses.
var ErrDiskBusy = errors.New("a machine uses it")

// Disk is a disk with a name, which this process holds. Other machines cannot use it until Close,
// unless all only read it.
type Disk struct {
	Path string
	lock *os.File
}

// OpenDisk holds the disk with that name, and makes it if it is missing. It grows to mib MiB if it
// is smaller, but never shrinks. With mib 0 it keeps its size.
func (s Store) OpenDisk(ctx context.Context, name string, mib int, readOnly bool) (*Disk, error) {
	d, err := s.openDisk(ctx, name, mib, readOnly)
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", name, err)
	}
	return d, nil
}

func (s Store) openDisk(ctx context.Context, name string, mib int, readOnly bool) (*Disk, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	d := &Disk{Path: s.NameDisk(name)}
	if _, err := os.Lstat(d.Path); errors.Is(err, fs.ErrNotExist) {
		if err := makeDisk(ctx, d.Path, name, mib); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	d.lock = f
	how := syscall.LOCK_EX
	if readOnly {
		how = syscall.LOCK_SH
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrDiskBusy
		}
		return nil, err
	}
	info, err := f.Stat()
	if size := int64(mib) << 20; err == nil && !readOnly && info.Size() < size {
		err = f.Truncate(size)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// makeDisk makes a disk in one step. Another process may make it first.
func makeDisk(ctx context.Context, path, label string, mib int) error {
	if mib == 0 {
		mib = DefaultDisk
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "disk")
	if err := image.Disk(ctx, made, label, mib); err != nil {
		return err
	}
	if err := os.Link(made, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Close lets go of the disk.
func (d *Disk) Close() { d.lock.Close() }

// DiskInfo describes a disk with a name. Size is what a guest can write, and Used what it takes on
// the host, both in bytes.
type DiskInfo struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	Used int64  `json:"used"`
	Busy bool   `json:"busy"`
}

// Disks returns the disks that have names, by name.
func (s Store) Disks() (list []DiskInfo, err error) {
	paths, err := filepath.Glob(s.NameDisk("*"))
	for _, path := range paths {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) != nil {
			continue // it was just removed
		}
		d := DiskInfo{strings.TrimSuffix(filepath.Base(path), diskSuffix), path, st.Size, st.Blocks * 512, false}
		if lock, err := lockDisk(path); err != nil {
			d.Busy = errors.Is(err, ErrDiskBusy)
		} else {
			lock.Close()
		}
		list = append(list, d)
	}
	return list, err
}

// RemoveDisk removes a disk that no machine uses.
func (s Store) RemoveDisk(name string) error {
	err := CheckName(name)
	var lock *os.File
	if err == nil {
		lock, err = lockDisk(s.NameDisk(name))
	}
	if err == nil {
		defer lock.Close()
		err = os.Remove(lock.Name())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove disk %s: there is no such disk", name)
	}
	if err != nil {
		return fmt.Errorf("remove disk %s: %w", name, err)
	}
	return nil
}

func lockDisk(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, ErrDiskBusy
	}
	return f, nil
}
