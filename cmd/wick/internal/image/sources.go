package image

import (
	"archive/tar"
	"compress/gzip"
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

// fromTar copies an archive.
func fromTar(s *stream, source string, zipped bool) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if zipped {
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := s.add(h, in); err != nil {
			return err
		}
	}
}

// fromDir copies a directory tree. Sockets are left out: no program listens there in the guest.
//
// A tree that was made without root belongs to whoever made it; the owner of its top, if that is not root, becomes root.
func fromDir(s *stream, source string) error {
	top, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	var owner *syscall.Stat_t
	type inode struct{ dev, ino uint64 }
	names := map[inode]string{} // of files with several names, the first that came
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSocket {
			return nil
		}
		target := ""
		if info.Mode().Type() == fs.ModeSymlink {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(top, path); err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if owner == nil {
			owner = st
		}
		if st.Uid == owner.Uid {
			h.Uid = 0
		}
		if st.Gid == owner.Gid {
			h.Gid = 0
		}
		if st.Nlink > 1 && !info.IsDir() {
			id := inode{st.Dev, st.Ino}
			if first, ok := names[id]; ok {
				h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
				return s.add(h, nil)
			}
			if !ours[clean(h.Name)] {
				names[id] = h.Name
			}
		}
		if h.PAXRecords, err = xattrs(path); err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return s.add(h, nil)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.add(h, f)
	})
}

// xattrs are a file's extended attributes (capabilities above all) as records of the archive. A file system without any has none.
func xattrs(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var records map[string]string
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		// What other than these a squashfs cannot hold; system.posix_acl_access is among it.
		if !strings.HasPrefix(name, "security.") && !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.") {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		if records == nil {
			records = map[string]string{}
		}
		records["SCHILY.xattr."+name] = string(value[:n])
	}
	return records, nil
}
