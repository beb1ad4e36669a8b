package client

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// localID identifies a file of this machine.
type localID struct{ dev, ino uint64 }

// linkedLocal returns the identity of a regular file that has several names.
func linkedLocal(info fs.FileInfo) (id localID, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || stat.Nlink < 2 {
		return id, false
	}
	return localID{stat.Dev, stat.Ino}, true
}

// LocalExtents returns the parts of a local file that hold data, and whether it has holes.
func LocalExtents(f *os.File) (list []Extent, holes bool) {
	info, err := f.Stat()
	if err != nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || stat.Blocks*512 >= info.Size() {
		return nil, false
	}
	defer f.Seek(0, io.SeekStart)
	for at := int64(0); at < info.Size(); {
		begin, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, false
		}
		end, err := unix.Seek(int(f.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			return nil, false
		}
		if begin, end = min(begin, info.Size()), min(end, info.Size()); begin < end {
			list = append(list, Extent{Offset: uint64(begin), Length: uint64(end - begin)})
		}
		at = end
	}
	return list, len(list) != 1 || list[0].Offset != 0 || list[0].Length != uint64(info.Size())
}

// LocalAttributes returns the extended attributes of a local file by name. The map is
// empty on a file system that does not support them.
func LocalAttributes(name string) (map[string]string, error) {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(name, names)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for attribute := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if attribute == "security.selinux" {
			continue // each machine labels its own files
		}
		n, err := unix.Lgetxattr(name, attribute, value)
		if err != nil {
			if !errors.Is(err, unix.ENODATA) {
				return all, fmt.Errorf("%s: %w", attribute, err)
			}
			continue
		}
		all[attribute] = string(value[:n])
	}
	return all, nil
}

// SetLocalAttribute sets an extended attribute of a local file.
func SetLocalAttribute(f *os.File, name, value string) error {
	return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
}

// mkfifo makes a named pipe.
func (u *dirUnpacker) mkfifo(name string) error {
	return u.inDir(name, "mkfifo", func(dir int, base string) error {
		return unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0)
	})
}

// inDir calls f with the directory and the base of name, for operations that os.Root does not have.
func (u *dirUnpacker) inDir(name, op string, f func(dir int, base string) error) error {
	dir, err := u.root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := f(int(dir.Fd()), filepath.Base(name)); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// linkTime sets the time of a symbolic link itself.
func (u *dirUnpacker) linkTime(h *tar.Header, name string) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(h.ModTime.UnixNano())}
	return u.inDir(name, "utimensat", func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}
