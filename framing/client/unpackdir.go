package client

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
)

// UnpackDir unpacks the tar that r gives into the directory dir of this host, and makes dir if it
// is missing. It makes directories, files, symbolic and hard links and FIFOs, with modes and
// times; holes stay holes. It sets owners unless o has NoOwner, and extended attributes if o has
// Attributes. Devices are left out, because they would open this host's hardware. On other
// systems than Linux there are no FIFOs, holes and attributes. Existing files are replaced, and
// existing directories kept.
//
// Nothing is written outside of dir, even if a guest sends hostile names and links: such an entry
// is a [*TarError]. A link to a directory is followed if that stays inside. Entries unpacked
// before an error stay.
func UnpackDir(r io.Reader, dir string, o TarOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := dirUnpacker{o: &o, root: root, dir: resolved}
	in := NewTarReader(r, o.note)
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

// maxDirs limits the directories whose modes and times are remembered until the end.
const maxDirs = 1 << 20

// dirUnpacker unpacks the tar of one UnpackDir.
type dirUnpacker struct {
	o    *TarOptions
	root *os.Root
	dir  string // the path of root, without links
	dirs []madeDir
}

// madeDir is a directory of the tar. Its mode and time are set at the end.
type madeDir struct {
	head *tar.Header
	name string
}

// outside is the error for an entry that leads out of the directory, by a name or a link.
func outside(h *tar.Header, by string) error {
	return &TarError{Name: h.Name, Reason: fmt.Sprintf("%q leads out of the directory", by)}
}

// resolve returns the local path of a name in the tar. It follows links above the last part of the
// name, and with all also at the last part.
func (u *dirUnpacker) resolve(h *tar.Header, name string, all bool) (string, error) {
	name = path.Clean(strings.TrimPrefix(name, "/"))
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", outside(h, name)
	}
	const maxLinks = 40
	at, rest := ".", strings.Split(name, "/")
	for links, last := 0, name; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." && u.dir != "/" {
				return "", outside(h, last)
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		if len(rest) == 0 && !all {
			return next, nil
		}
		info, err := u.root.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return path.Join(next, path.Join(rest...)), nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		target, err := u.root.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		last = next
		if path.IsAbs(target) {
			below, ok := strings.CutPrefix(target, strings.TrimSuffix(u.dir, "/")+"/")
			if !ok && target != u.dir {
				return "", outside(h, last)
			}
			at, target = ".", below
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

func (u *dirUnpacker) entry(h *tar.Header, content *TarReader) error {
	name, err := u.resolve(h, h.Name, false)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return u.mkdir(h, name)
	}
	if err := u.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		// A copy of the device would open this machine's hardware to its readers.
		u.o.note(h.Name, "left out: it is a device, and a copy would open this machine's")
		return nil
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return errors.Join(u.own(h, name), u.linkTime(h, name))
	case tar.TypeLink:
		old, err := u.resolve(h, h.Linkname, false)
		if err != nil {
			return err
		}
		return u.root.Link(old, name)
	case tar.TypeFifo:
		if err := u.mkfifo(name); err != nil {
			return err
		}
		return u.meta(h, name)
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if content.Sparse() {
		err = sparsely(f, content)
	} else {
		_, err = io.Copy(f, content)
	}
	if err == nil {
		u.attributes(h, f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.meta(h, name)
}

// sparsely writes content to the empty file f. Blocks of zeros become holes.
func sparsely(f *os.File, content io.Reader) error {
	size := int64(0)
	write := func(b []byte) error {
		n, err := f.WriteAt(b, size)
		size += int64(n)
		return err
	}
	if err := CopySparse(content, write, func(n int64) error { size += n; return nil }); err != nil {
		return err
	}
	return f.Truncate(size)
}

// mkdir makes a directory, unless there is one, or a link to one that stays inside. It replaces
// anything else.
func (u *dirUnpacker) mkdir(h *tar.Header, name string) error {
	if name == "." && u.o.Contents {
		return nil
	}
	info, err := u.root.Lstat(name)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		at, err := u.resolve(h, h.Name, true)
		if err != nil {
			return err
		}
		if there, err := u.root.Lstat(at); err == nil && there.IsDir() {
			return nil // it keeps its mode and owner
		}
	}
	if u.dirs = append(u.dirs, madeDir{h, name}); len(u.dirs) > maxDirs {
		return fmt.Errorf("the guest sent more than %d directories", maxDirs)
	}
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	if err := u.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return u.root.Mkdir(name, 0o700) // writable until it is complete
}

func (u *dirUnpacker) own(h *tar.Header, name string) error {
	switch {
	case u.o.Owner != nil:
		return u.root.Lchown(name, int(u.o.Owner.UID), int(u.o.Owner.GID))
	case !u.o.NoOwner:
		return u.root.Lchown(name, h.Uid, h.Gid)
	}
	return nil
}

// capability is the attribute of a file's capabilities, which a change of the owner clears.
const capability = "security.capability"

// attributes sets the extended attributes of an entry on its file, and notes those that are lost.
func (u *dirUnpacker) attributes(h *tar.Header, f *os.File) {
	if !u.o.Attributes {
		return
	}
	all, lost := TarAttributes(h)
	for _, record := range lost {
		u.o.note(h.Name, "its "+record+" is left out")
	}
	for attribute, value := range all {
		if !u.o.Keeps(attribute) {
			u.o.note(h.Name, "its attribute "+attribute+" is left out")
			continue
		}
		// A later change of the owner would clear capabilities.
		if attribute == capability && (!u.o.NoOwner || u.o.Owner != nil) {
			continue
		}
		if err := SetLocalAttribute(f, attribute, value); err != nil {
			u.o.note(h.Name, "its attribute "+attribute+" is lost: "+err.Error())
		}
	}
}

// meta sets owner, mode, capabilities and time.
func (u *dirUnpacker) meta(h *tar.Header, name string) error {
	err := errors.Join(u.own(h, name), u.root.Chmod(name, h.FileInfo().Mode()))
	if value, ok := h.PAXRecords[xattrRecord+capability]; ok && u.o.Attributes && u.o.Keeps(capability) {
		if f, err := u.root.Open(name); err == nil {
			if err := SetLocalAttribute(f, capability, value); err != nil {
				u.o.note(h.Name, "its attribute "+capability+" is lost: "+err.Error())
			}
			f.Close()
		}
	}
	return errors.Join(err, u.root.Chtimes(name, time.Time{}, h.ModTime))
}

// finishDirs sets attributes, modes and times of the directories, the deepest first. Unpacking
// their contents would have changed these.
func (u *dirUnpacker) finishDirs() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		if f, err := u.root.Open(d.name); err == nil {
			u.attributes(d.head, f)
			f.Close()
		}
		if err := u.meta(d.head, d.name); err != nil {
			return err
		}
	}
	return nil
}
