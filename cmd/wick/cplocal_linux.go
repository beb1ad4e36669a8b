package main

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

	"wick/framing/client"
)

// ownerOf returns the owner of a local file.
func ownerOf(info fs.FileInfo) (uid, gid uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return stat.Uid, stat.Gid, true
}

// fileID identifies a file of this machine.
type fileID struct{ dev, ino uint64 }

// linkedFile returns the identity of a regular file that has several names.
func linkedFile(info fs.FileInfo) (id fileID, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || stat.Nlink < 2 {
		return id, false
	}
	return fileID{stat.Dev, stat.Ino}, true
}

// localExtents returns the parts of a local file that hold data, and whether it has holes.
func localExtents(f *os.File, info fs.FileInfo) (list []client.Extent, holes bool) {
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
			list = append(list, client.Extent{Offset: uint64(begin), Length: uint64(end - begin)})
		}
		at = end
	}
	return list, len(list) != 1 || list[0].Offset != 0 || list[0].Length != uint64(info.Size())
}

// localAttributes returns the extended attributes of a local file by name. The map is
// empty on a file system that does not support them.
func localAttributes(name string) (map[string]string, error) {
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

// setLocalAttribute sets an extended attribute of a local file.
func setLocalAttribute(f *os.File, name, value string) error {
	return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
}

// mkfifo makes a named pipe.
func (u *unpacker) mkfifo(name string) error {
	return u.inDir(name, "mkfifo", func(dir int, base string) error {
		return unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0)
	})
}

// inDir calls f with the directory and the base of name, for operations that os.Root does not have.
func (u *unpacker) inDir(name, op string, f func(dir int, base string) error) error {
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
func (u *unpacker) linkTime(h *tar.Header, name string) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(h.ModTime.UnixNano())}
	return u.inDir(name, "utimensat", func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}
