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

// TarOptions are the choices of [Client.TarFrom] and [Client.TarTo].
type TarOptions struct {
	// Follow follows symbolic links that lead to directories below the given one. Without it none is, which keeps what is done within the directory, whatever is
	// in the archive or becomes of the guest's tree meanwhile.
	Follow bool
	// Prefix stands before the names in the archive in place of ".", with a slash between.
	Prefix string
	// NoOwner leaves owners out: what is unpacked then belongs to who unpacks it. So it leaves out the set-user-ID and set-group-ID bits of files too, by
	// which that one's rights would be anybody's.
	NoOwner bool
	// Owner, if not nil, is whose all is that is made.
	Owner *Owner
	// Attributes has extended attributes copied, if the guest can tell them: with owners all, and without only those of users (user.*), for others, such as
	// capabilities, are rights.
	Attributes bool
	// Note, if not nil, is told what is left out or lost, and why: "left out: it is a socket". Without it TarTo fails at what cannot be made, and TarFrom leaves it out.
	Note func(name, reason string)
	// Progress, if not nil, is called for each entry as it begins, and with its bytes as they go, from one goroutine at a time.
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

// keeps reports whether an extended attribute is copied.
func (o *TarOptions) keeps(attribute string) bool {
	return !o.NoOwner || strings.HasPrefix(attribute, "user.")
}

// mode is the mode of what is copied.
func (o *TarOptions) mode(mode fs.FileMode) fs.FileMode {
	if o.NoOwner && mode.IsRegular() {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return mode
}

// maxLinked is how many files are held that may have further names.
const maxLinked = 1 << 18

// tarWindow is the credit of each of the files that are read ahead, in bytes. Most files are smaller.
const tarWindow = 64 << 10

// TarFrom writes what is at root in the guest to w as a tar: a directory with all that is in it, under ".", or a file under its name. Modes, numeric owners, times, symbolic
// and hard links and devices are in it; sockets are not. A file with holes is in GNU's format for those. Small files are read several at a time.
//
// Where two names are of one file by its number, its size and its times, that is a hard link; behind the first 262144 such files it is a copy. A file
// that shrinks as it is read is filled up with zeros, and the error is an [*fs.PathError] with io.ErrUnexpectedEOF, after all else was written. Otherwise the error is w's, or as for [Client.Stat].
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
	links map[fileID]string // the names of files that have several
	w     io.Writer
	root  string // whose entry no list has marked
	// shrunk is the first file that was shorter than it had said.
	shrunk error
}

// fileID tells files apart as far as the guest's word goes.
type fileID struct {
	inode, size uint64
	mtime       int64
}

// tarItem is an entry, whose content is on its way.
type tarItem struct {
	head    *tar.Header
	path    string
	content *download // nil if there is none
	sparse  bool      // extents are its parts, and content is nil
	extents []Extent
	shrunk  bool      // and the copy was filled up
	attrs   *download // nil if they are not asked for
}

func (i *tarItem) close() {
	for _, d := range []*download{i.content, i.attrs} {
		if d != nil {
			d.Close()
		}
	}
}

// walk hands out what is at a path and below it. There is room for so many entries.
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
			window = readWindow // it would be slow by small pieces
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

// sparseFile is how large a file must be that may have holes worth telling, in bytes.
const sparseFile = 64 << 10

// examine finds the holes of a file, and asks for its extended attributes.
func (t *tarPacker) examine(item *tarItem, info *FileInfo) (err error) {
	if t.c.need(t.ctx, framing.FeatureCopies) != nil {
		return nil //nolint:nilerr // an older guest tells neither, and the copy goes on without
	}
	if h := item.head; h.Typeflag == tar.TypeReg && h.Size >= sparseFile {
		item.extents, err = t.c.Extents(t.ctx, item.path, h.Size, t.o.flags()...)
		if _, failed := errors.AsType[*fs.PathError](err); failed {
			err = nil // reading will tell
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
			continue // a label of the guest's, which each machine makes for itself
		}
		if !t.o.keeps(name) {
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

// header is the entry's, or nil for what no tar can hold.
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

// write writes what walk hands out.
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

// filled fills up what came of a file with zeros: it has gone or shrunk since it was listed, but its size is written.
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

// counting counts what goes to a writer.
type counting struct {
	w     io.Writer
	count func(int)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.count(n)
	return n, err
}

// zeroes is content without end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
