package client

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// UploadDir copies what is in the directory local of this host into the guest's directory dir, and
// makes dir if it is missing. It copies modes, numeric owners, times and symbolic links. Hard links
// become copies, holes become zeros, and sockets are left out. Extended attributes are not copied.
//
// A file that shrinks while it is read is an [*fs.PathError] with io.ErrUnexpectedEOF. Otherwise
// the error is that of a local file, or as for [Client.TarTo]. Files copied before an error stay.
func (c *Client) UploadDir(ctx context.Context, local, dir string, o TarOptions) error {
	root, err := os.OpenRoot(local)
	if err != nil {
		return err
	}
	defer root.Close()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packDir(w, root, &o)
		w.CloseWithError(err) // io.EOF if nil
		packed <- err
	}()
	err = c.TarTo(ctx, r, dir, o)
	r.CloseWithError(errStopped)
	if own := <-packed; own != nil && !errors.Is(own, errStopped) {
		return own // TarTo's error is a consequence
	}
	return err
}

// errStopped ends one side of a copy when the other side has ended.
var errStopped = errors.New("the other side of the copy ended")

// packDir writes what is in a directory as a tar.
func packDir(w io.Writer, root *os.Root, o *TarOptions) error {
	out := tar.NewWriter(w)
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		switch info.Mode().Type() {
		case fs.ModeSocket:
			o.note(name, "left out: it is a socket")
			return nil
		case fs.ModeSymlink:
			if target, err = root.Readlink(name); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		h.Name, h.Format, h.AccessTime, h.ChangeTime = name, tar.FormatPAX, time.Time{}, time.Time{}
		if info.IsDir() {
			h.Name += "/"
		}
		if h.Typeflag != tar.TypeReg {
			return out.WriteHeader(h)
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err = io.CopyN(out, f, h.Size); err == io.EOF {
			err = &fs.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF}
		}
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// DownloadDir copies what is in the guest's directory dir into the directory local of this host,
// and makes local if it is missing. It copies modes, times, symbolic and hard links, and holes. It
// copies numeric owners if this process is root and o does not say otherwise. Sockets, devices and
// FIFOs are left out, because a device would open this host's hardware. Extended attributes are not
// copied. Existing files are replaced, and existing directories kept.
//
// Nothing is written outside of local, even if the guest sends hostile names and links: such an
// entry is an error. The error is that of a local file, or as for [Client.TarFrom]. Files copied
// before an error stay.
func (c *Client) DownloadDir(ctx context.Context, dir, local string, o TarOptions) error {
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(local)
	if err != nil {
		return err
	}
	defer root.Close()
	o.NoOwner = o.NoOwner || os.Geteuid() != 0
	o.Prefix, o.Attributes = "", false
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := c.TarFrom(ctx, dir, w, o)
		w.CloseWithError(err) // io.EOF if nil
		sent <- err
	}()
	u := dirUnpacker{root: root, o: &o}
	err = u.unpack(r)
	r.CloseWithError(errStopped)
	if theirs := <-sent; theirs != nil && !errors.Is(theirs, errStopped) {
		return theirs
	}
	return err
}

// maxMade limits the directories whose modes and times are remembered until the end.
const maxMade = 1 << 20

// dirUnpacker unpacks the tar of one DownloadDir.
type dirUnpacker struct {
	root *os.Root
	o    *TarOptions
	made []*tar.Header
}

func (u *dirUnpacker) unpack(r io.Reader) error {
	in := NewTarReader(r, u.o.note)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = u.entry(h, in)
		}
		if err != nil {
			return err
		}
	}
	// The contents are complete. A directory may be closed for its owner, so the deepest are first.
	for i := len(u.made) - 1; i >= 0; i-- {
		h := u.made[i]
		if err := u.meta(h, local(h.Name)); err != nil {
			return err
		}
	}
	return nil
}

// local returns the local form of a name in a tar.
func local(name string) string { return filepath.FromSlash(path.Clean(name)) }

func (u *dirUnpacker) entry(h *tar.Header, content *TarReader) error {
	name := local(h.Name)
	if !filepath.IsLocal(name) {
		return &TarError{Name: h.Name, Reason: "it leads out of the directory"}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink, tar.TypeDir:
	default:
		u.o.note(h.Name, "left out: it is neither a file, a directory nor a link")
		return nil
	}
	u.o.progress(h.Name, 0)
	isDir := h.Typeflag == tar.TypeDir
	if info, err := u.root.Lstat(name); err == nil && !(isDir && info.IsDir()) {
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	dir, mode := filepath.Dir(name), fs.FileMode(0o755)
	if isDir {
		dir, mode = name, 0o700 // writable until it is complete
	}
	if err := u.root.MkdirAll(dir, mode); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if u.made = append(u.made, h); len(u.made) > maxMade {
			return fmt.Errorf("unpack: more than %d directories", maxMade)
		}
		return nil
	case tar.TypeSymlink:
		return errors.Join(u.root.Symlink(h.Linkname, name), u.own(h, name))
	case tar.TypeLink:
		return u.root.Link(local(h.Linkname), name)
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	size := int64(0)
	err = CopySparse(content, func(b []byte) error {
		n, err := f.WriteAt(b, size)
		size += int64(n)
		return err
	}, func(n int64) error { size += n; return nil })
	if err == nil {
		err = f.Truncate(size)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.meta(h, name)
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

// meta sets owner, mode and time.
func (u *dirUnpacker) meta(h *tar.Header, name string) error {
	mode := h.FileInfo().Mode()
	if u.o.NoOwner {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return errors.Join(u.own(h, name), u.root.Chmod(name, mode),
		u.root.Chtimes(name, time.Time{}, h.ModTime))
}
