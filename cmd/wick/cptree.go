package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownerOf is whose a local file is.
func ownerOf(info fs.FileInfo) (uid, gid uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return stat.Uid, stat.Gid, true
}

// treeOptions say how a tree is copied.
type treeOptions struct {
	// owners are kept.
	owners bool
	// contents alone are copied, so that the directory which they go into stays as it is.
	contents bool
	// note is told what is left out.
	note func(string)
}

// packTree writes a local directory as a tar, under ".". What no guest can be given is left out, and noted.
func packTree(w io.Writer, dir string, o treeOptions) error {
	out := tar.NewWriter(w)
	type file struct{ dev, ino uint64 }
	links := map[file]string{}
	dir = filepath.Clean(dir) + string(filepath.Separator)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		switch mode := info.Mode(); {
		case mode.IsDir(), mode.IsRegular():
		case mode&fs.ModeSymlink != 0:
			if target, err = os.Readlink(name); err != nil {
				return err
			}
		default:
			o.note(fmt.Sprintf("left out %s: %v", name, mode.Type()))
			return nil
		}
		if o.contents && name == dir {
			return nil
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		h.Name, h.Format, h.AccessTime, h.ChangeTime = "./"+filepath.ToSlash(rel), tar.FormatPAX, time.Time{}, time.Time{}
		if info.IsDir() {
			h.Name += "/"
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && stat.Nlink > 1 {
			id := file{stat.Dev, stat.Ino}
			if first, seen := links[id]; seen {
				h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
			} else {
				links[id] = h.Name
			}
		}
		if err := out.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err = io.CopyN(out, f, h.Size); errors.Is(err, io.EOF) {
			err = &fs.PathError{Op: "read", Path: name, Err: errors.New("it shrank while it was read")}
		}
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// unpackTree unpacks a tar into a local directory, which is made if it is missing. Nothing is written outside of it, whatever the guest has put into names
// and links.
func unpackTree(r io.Reader, dir string, o treeOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{treeOptions: o, root: root}
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.finishDirs()
		}
		if err == nil {
			err = u.entry(h, in)
		}
		if err != nil {
			return err
		}
	}
}

// maxDirs is how many directories are held whose modes and times are set at the end.
const maxDirs = 1 << 20

// An unpacker is one unpackTree.
type unpacker struct {
	treeOptions
	root *os.Root
	dirs []*tar.Header
}

// name is the local name of an entry's.
func (u *unpacker) name(h *tar.Header, name string) (string, error) {
	name = path.Clean(strings.TrimPrefix(name, "/"))
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf("the guest sent %q, which leads out of the directory (in %q)", name, h.Name)
	}
	return filepath.FromSlash(name), nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := u.name(h, h.Name)
	if err != nil {
		return err
	}
	if name != "." {
		if err := u.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeDir {
		if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if name == "." && u.contents {
			return nil
		}
		if u.dirs = append(u.dirs, h); len(u.dirs) > maxDirs {
			return fmt.Errorf("the guest sent more than %d directories", maxDirs)
		}
		if name == "." {
			return nil
		}
		// Writable until all is in it.
		if err := u.root.Mkdir(name, 0o700); err != nil {
			if info, e := u.root.Lstat(name); e != nil || !info.IsDir() {
				return err
			}
		}
		return nil
	case tar.TypeReg:
		f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return u.meta(h, name)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return errors.Join(u.own(h, name), u.linkTime(h, name))
	case tar.TypeLink:
		old, err := u.name(h, h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(old, name)
	}
	u.note(fmt.Sprintf("left out %s: it is no file, directory or link", h.Name))
	return nil
}

func (u *unpacker) own(h *tar.Header, name string) error {
	if !u.owners {
		return nil
	}
	return u.root.Lchown(name, h.Uid, h.Gid)
}

// linkTime sets the time of a symbolic link itself, by its directory: a root has no way for that.
func (u *unpacker) linkTime(h *tar.Header, name string) error {
	dir, err := u.root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	if err := unix.UtimesNanoAt(int(dir.Fd()), filepath.Base(name), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: name, Err: err}
	}
	return nil
}

// meta sets owner, mode and time.
func (u *unpacker) meta(h *tar.Header, name string) error {
	return errors.Join(u.own(h, name), u.root.Chmod(name, h.FileInfo().Mode()), u.root.Chtimes(name, time.Time{}, h.ModTime))
}

// finishDirs sets what the content of directories would have changed, those below others first.
func (u *unpacker) finishDirs() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		name, err := u.name(u.dirs[i], u.dirs[i].Name)
		if err == nil {
			err = u.meta(u.dirs[i], name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
