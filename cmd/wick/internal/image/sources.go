package image

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

	"wick/cmd/wick/internal/archive"
	"wick/framing/client"
)

// fromTar copies an archive, compressed or not. It leaves out labels and other metadata that a root
// cannot have.
func fromTar(s *stream, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := archive.Decompress(f)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	for in := client.NewTarReader(r, nil); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if err := s.add(h, in); err != nil {
			return err
		}
	}
}

// fill copies the directory tree. It leaves out sockets, because no program listens there in the
// guest, and entries that were removed or became unreadable since lookAt. A file that is truncated
// meanwhile is padded with zeros.
func (t *tree) fill(s *stream, _ string) error {
	type inode struct{ dev, ino uint64 }
	names := map[inode]string{} // the first names of files with several
	return walk(t.top, func(path string, info fs.FileInfo, mounted bool) error {
		if info == nil || info.Mode().Type() == fs.ModeSocket {
			return nil
		}
		target := ""
		var err error
		if info.Mode().Type() == fs.ModeSymlink {
			if target, err = os.Readlink(path); err != nil {
				return absent(err)
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(t.top, path); err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid == t.owner {
			h.Uid = 0
		}
		if st.Gid == t.group {
			h.Gid = 0
		}
		if mounted {
			h.Size = 0
			return s.add(h, strings.NewReader(""))
		}
		id := inode{st.Dev, st.Ino}
		several := st.Nlink > 1 && !info.IsDir()
		if first, ok := names[id]; ok && several {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return s.add(h, nil)
		}
		var content io.Reader
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return absent(err)
			}
			defer f.Close()
			content = newHoles(f, info.Size())
		}
		if h.PAXRecords, err = xattrs(path); err != nil {
			return err
		}
		if several && !ours[clean(h.Name)] {
			names[id] = h.Name
		}
		return s.add(h, content)
	})
}

// absent returns nil for an error that means that a file is missing or unreadable, else err.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// xattrs returns the extended attributes of a file, such as capabilities, as records of the tar. A
// file system that does not support them has none.
func xattrs(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) || err != nil && absent(err) == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var records map[string]string
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		// A squashfs cannot hold others, such as system.posix_acl_access.
		if !strings.HasPrefix(name, "security.") && !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.") {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, fs.ErrPermission) {
			continue // it was removed, or cannot be read
		}
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
