package client

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"wick/framing"
)

// TarOptions are the options of [Client.TarFrom] and [Client.TarTo].
type TarOptions struct {
	// Follow follows symbolic links to directories below the given one. By default no link is
	// followed, which keeps the operation within the directory. Neither the archive nor a change of
	// the guest's tree can lead it out.
	Follow bool
	// Prefix replaces the leading "." of the names in the archive.
	Prefix string
	// NoOwner leaves owners out, so that what is unpacked belongs to the user who unpacks it. It
	// clears the set-user-ID and set-group-ID bits of files too, because they would lend that
	// user's rights to others.
	NoOwner bool
	// Owner, if not nil, is the owner of everything that is made.
	Owner *Owner
	// Contents leaves out the directory itself in [PackDir], and leaves that of [UnpackDir] as it
	// is.
	Contents bool
	// Attributes copies extended attributes, if the guest can report them. With NoOwner only user.*
	// is copied, because others, such as capabilities, are rights.
	Attributes bool
	// Note, if not nil, is called with what is left out or lost, and why: "left out: it is a
	// socket". Without it TarTo fails at what cannot be made, and TarFrom leaves it out.
	Note func(name, reason string)
	// Progress, if not nil, is called for each entry as it begins, and with the number of its bytes
	// as they are copied. Calls do not overlap.
	Progress func(name string, bytes int64)
}

func (o *TarOptions) flags() []FileFlags {
	if o.Follow {
		return nil
	}
	return []FileFlags{Safe}
}

func (o *TarOptions) progress(name string, n int64) {
	if o.Progress != nil {
		o.Progress(name, n)
	}
}

// note calls Note.
func (o *TarOptions) note(name, reason string) {
	if o.Note != nil {
		o.Note(name, reason)
	}
}

// Keeps reports whether an extended attribute of that name is copied.
func (o *TarOptions) Keeps(attribute string) bool {
	return !o.NoOwner || strings.HasPrefix(attribute, "user.")
}

// mode returns the mode of a copy.
func (o *TarOptions) mode(mode fs.FileMode) fs.FileMode {
	if o.NoOwner && mode.IsRegular() {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return mode
}

// maxLinked is how many files with several names are remembered.
const maxLinked = 1 << 18

// tarWindow is the credit of each file that is read ahead, in bytes. Most files are smaller.
const tarWindow = 64 << 10

// TarFrom writes what is at root in the guest to w as a tar: a directory with its content, under
// ".", or a file under its name. It has modes, numeric owners, times, symbolic and hard links, and
// devices, and leaves sockets out. A file with holes is in GNU's sparse format. Small files are
// read several at a time.
//
// Two names with the same inode number, size and times are a hard link; after the first 262144 such
// files they are copies. If a file shrinks while it is read it is padded with zeros. Then the error
// is an [*fs.PathError] with io.ErrUnexpectedEOF, after everything else was written. Otherwise the
// error is w's, or as for [Client.Stat].
func (c *Client) TarFrom(ctx context.Context, root string, w io.Writer, o TarOptions) error {
	resolved, err := c.RealPath(ctx, root)
	if err != nil {
		return err
	}
	info, err := c.Lstat(ctx, resolved, o.flags()...)
	if err != nil {
		return renamed(err, "stat", root)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &tarPacker{c: c, o: &o, ctx: ctx, items: make(chan tarItem, inFlight), links: map[fileID]string{}, w: w, root: resolved}
	name := o.Prefix
	if name == "" {
		name = "."
		if !info.IsDir() {
			name = path.Base(root)
		}
	}
	var walked error
	go func() {
		defer close(t.items)
		walked = t.walk(resolved, name, info, maxHeld)
	}()
	out := tar.NewWriter(w)
	err = t.write(out)
	if err != nil {
		cancel()
		for i := range t.items { // until the walk has ended
			i.close()
		}
		if walked != nil && errors.Is(err, context.Canceled) {
			return walked
		}
		return err
	}
	if walked != nil {
		return walked
	}
	if err := out.Close(); err != nil {
		return err
	}
	return t.shrunk
}

// tarPacker writes the tar of one TarFrom.
type tarPacker struct {
	c     *Client
	o     *TarOptions
	ctx   context.Context
	items chan tarItem
	links map[fileID]string // the first name of each file that has several
	w     io.Writer
	root  string // the entry that no list has marked
	// shrunk is the error of the first file that shrank.
	shrunk error
}

// fileID identifies a file, if the guest is honest.
type fileID struct {
	inode, size uint64
	mtime       int64
}

// tarItem is an entry whose content is being read ahead.
type tarItem struct {
	head    *tar.Header
	path    string
	content *download // nil if it has no content
	sparse  bool      // extents has its data, and content is nil
	extents []Extent
	shrunk  bool      // the copy was padded
	attrs   *download // nil if not wanted
}

func (i *tarItem) close() {
	for _, d := range []*download{i.content, i.attrs} {
		if d != nil {
			d.Close()
		}
	}
}

// walk sends the entries at full and below it. room is how many entries it may hold.
func (t *tarPacker) walk(full, name string, info *FileInfo, room int) error {
	item := tarItem{head: t.header(name, info), path: full}
	if item.head == nil {
		t.o.note(full, "left out: it is a socket")
		return nil
	}
	if err := t.examine(&item, info); err != nil {
		return err
	}
	if !item.sparse && item.head.Typeflag == tar.TypeReg && item.head.Size > 0 {
		window := int(min(item.head.Size, tarWindow))
		if item.head.Size > inFlight*tarWindow {
			window = readWindow // small pieces would be slow
		}
		var err error
		if item.content, err = t.c.openRead(t.ctx, full, 0, item.head.Size, window, t.o.flags()...); err != nil {
			return err
		}
	}
	select {
	case t.items <- item:
	case <-t.ctx.Done():
		item.close()
		return t.ctx.Err()
	}
	if !info.IsDir() {
		return nil
	}
	flags := t.o.flags()
	if t.o.Attributes && t.c.need(t.ctx, framing.FeatureCopies) == nil {
		flags = append(flags, framing.FileMarks)
	}
	entries, err := t.c.readDir(t.ctx, full, &room, flags...)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := t.walk(path.Join(full, e.Name()), name+"/"+e.Name(), e, room); err != nil {
			return err
		}
	}
	return nil
}

// sparseFile is how large a file must be for its holes to be examined, in bytes.
const sparseFile = 64 << 10

// examine finds the holes of a file, and requests its extended attributes.
func (t *tarPacker) examine(item *tarItem, info *FileInfo) (err error) {
	if t.c.need(t.ctx, framing.FeatureCopies) != nil {
		return nil //nolint:nilerr // an older guest tells neither, and the copy goes on without
	}
	if h := item.head; h.Typeflag == tar.TypeReg && h.Size >= sparseFile {
		item.extents, err = t.c.Extents(t.ctx, item.path, h.Size, t.o.flags()...)
		if _, failed := errors.AsType[*fs.PathError](err); failed {
			err = nil // reading reports the error
		} else if err != nil {
			return err
		} else {
			item.sparse = !full(item.extents, h.Size)
		}
	}
	if kind := item.head.Typeflag; t.o.Attributes && (kind == tar.TypeReg || kind == tar.TypeDir) && (item.path == t.root || info.wire.Mode&framing.ModeMarked != 0) {
		item.attrs, err = t.c.openAttributes(t.ctx, item.path, t.o.flags()...)
	}
	return err
}

// attributes puts the extended attributes into the header.
func (t *tarPacker) attributes(item *tarItem) error {
	if item.attrs == nil {
		return nil
	}
	all, err := readAttributes(item.attrs)
	if _, failed := errors.AsType[*fs.PathError](err); failed {
		t.o.note(item.path, "its extended attributes are lost: "+errors.Unwrap(err).Error())
		return nil
	}
	for name, value := range all {
		if name == "security.selinux" {
			continue // each machine sets its own labels
		}
		if !t.o.Keeps(name) {
			t.o.note(item.path, "its attribute "+name+" is left out")
			continue
		}
		if item.head.PAXRecords == nil {
			item.head.PAXRecords = map[string]string{}
		}
		item.head.PAXRecords[xattrRecord+name] = value
	}
	return err
}

// header returns the entry's header, or nil for what a tar cannot hold.
func (t *tarPacker) header(name string, info *FileInfo) *tar.Header {
	h := &tar.Header{Name: name, Mode: int64(unixMode(t.o.mode(info.Mode()))), ModTime: info.ModTime(), Format: tar.FormatPAX}
	if !t.o.NoOwner {
		h.Uid, h.Gid = int(info.UID()), int(info.GID())
	}
	if o := t.o.Owner; o != nil {
		h.Uid, h.Gid = int(o.UID), int(o.GID)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if info.Links() > 1 {
			id := fileID{info.Inode(), uint64(info.Size()), info.wire.ModTime}
			if first, seen := t.links[id]; seen {
				h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
			} else if len(t.links) < maxLinked {
				t.links[id] = name
			}
		}
	case mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, info.Target()
	case mode&fs.ModeDevice != 0:
		h.Typeflag = tar.TypeBlock
		if mode&fs.ModeCharDevice != 0 {
			h.Typeflag = tar.TypeChar
		}
		major, minor := info.Device()
		h.Devmajor, h.Devminor = int64(major), int64(minor)
	case mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	default:
		return nil
	}
	return h
}

// write writes the entries that walk sends.
func (t *tarPacker) write(out *tar.Writer) error {
	for item := range t.items {
		err := t.writeItem(out, &item)
		item.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tarPacker) writeItem(out *tar.Writer, item *tarItem) error {
	shown := strings.TrimPrefix(item.head.Name, "./")
	t.o.progress(shown, 0)
	if err := t.attributes(item); err != nil {
		return err
	}
	if item.sparse {
		return WriteSparse(out, t.w, item.head, item.extents, func(w io.Writer) error {
			w = &counting{w, func(n int) { t.o.progress(shown, int64(n)) }}
			for _, e := range item.extents {
				content, err := t.c.openRead(t.ctx, item.path, int64(e.Offset), int64(e.Length), readWindow, t.o.flags()...)
				if err != nil {
					return err
				}
				n, err := content.WriteTo(w)
				content.Close()
				if err := t.filled(w, item, int64(e.Length), n, err); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := out.WriteHeader(item.head); err != nil {
		return fmt.Errorf("tar %s: %w", item.path, err)
	}
	if item.content == nil {
		return nil
	}
	n, err := item.content.WriteTo(&counting{out, func(n int) { t.o.progress(shown, int64(n)) }})
	return t.filled(out, item, item.head.Size, n, err)
}

// filled pads with zeros what was read of a file that is gone or has shrunk since its header was
// written.
func (t *tarPacker) filled(out io.Writer, item *tarItem, size, n int64, err error) error {
	if errors.Is(err, syscall.ENOENT) || err == nil && n < size {
		if !item.shrunk {
			item.shrunk = true
			t.o.note(item.path, "it shrank while it was read; the rest of the copy is zeros")
		}
		if t.shrunk == nil {
			t.shrunk = &fs.PathError{Op: "read", Path: item.path, Err: io.ErrUnexpectedEOF}
		}
		_, err = io.CopyN(out, zeroes{}, size-n)
	}
	return err
}

// counting counts the bytes written to w.
type counting struct {
	w     io.Writer
	count func(int)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.count(n)
	return n, err
}

// zeroes reads as zeros without end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
