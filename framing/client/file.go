package client

import (
	"context"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"
)

// A File is a file of the guest that is open for reading, or a directory. It is an [fs.File], an
// [io.ReaderAt], an [io.Seeker], an [io.WriterTo] and an [fs.ReadDirFile].
//
// The guest holds no descriptor for it. Its content is read by path: as a stream from the first
// Read or Seek on, and by ReadAt in pieces.
type File struct {
	ctx   context.Context
	c     *Client
	name  string
	shown string // the name in errors
	flags []FileFlags
	info  *FileInfo

	mu      sync.Mutex
	stream  *download
	offset  int64
	entries []*FileInfo // entries of a directory that ReadDir has not returned yet
	listed  bool
	closed  bool
}

// Open opens a file of the guest for reading, or a directory. ctx applies to everything done with
// it.
func (c *Client) Open(ctx context.Context, name string, flags ...FileFlags) (*File, error) {
	return c.open(ctx, name, name, flags)
}

func (c *Client) open(ctx context.Context, name, shown string, flags []FileFlags) (*File, error) {
	info, err := c.Stat(ctx, name, flags...)
	if err != nil {
		return nil, renamed(err, "open", shown)
	}
	info.name = path.Base(shown)
	return &File{ctx: ctx, c: c, name: name, shown: shown, flags: flags, info: info}, nil
}

// renamed returns err as an error of op on shown, the name that the caller knows.
func renamed(err error, op, shown string) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: op, Path: shown, Err: e.Err}
	}
	return err
}

// Stat returns what Open found.
func (f *File) Stat() (fs.FileInfo, error) { return f.info, nil }

// fail returns an error of op on the file.
func (f *File) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.shown, Err: err}
}

// begin opens the stream unless it is open. f.mu is held.
func (f *File) begin(op string) error {
	switch {
	case f.closed:
		return f.fail(op, fs.ErrClosed)
	case f.info.IsDir():
		return f.fail(op, syscall.EISDIR)
	case f.stream != nil:
		return nil
	}
	stream, err := f.c.openRead(f.ctx, f.name, f.offset, 0, readWindow, f.flags...)
	if err != nil {
		return renamed(err, op, f.shown)
	}
	f.stream = stream
	return nil
}

// Read reads on from the current offset.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	n, err := f.stream.Read(p)
	f.offset += int64(n)
	return n, renamed(err, "read", f.shown)
}

// WriteTo implements io.WriterTo.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	n, err := f.stream.WriteTo(w)
	f.offset += n
	return n, renamed(err, "read", f.shown)
}

// Seek sets the offset of the next Read. The end is that found by Open.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.info.Size()
	default:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	switch {
	case f.closed:
		return 0, f.fail("seek", fs.ErrClosed)
	case offset < 0:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	if offset != f.offset && f.stream != nil {
		f.stream.Close()
		f.stream = nil
	}
	f.offset = offset
	return offset, nil
}

// ReadAt reads a piece with a request of its own. Any number of them may run at the same time.
func (f *File) ReadAt(p []byte, offset int64) (n int, err error) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	switch {
	case closed:
		return 0, f.fail("read", fs.ErrClosed)
	case len(p) == 0:
		return 0, nil
	}
	stream, err := f.c.openRead(f.ctx, f.name, offset, int64(len(p)), min(len(p), readWindow), f.flags...)
	if err != nil {
		return 0, renamed(err, "read", f.shown)
	}
	defer stream.Close()
	n, err = io.ReadFull(stream, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, renamed(err, "read", f.shown)
}

// ReadDir returns entries of the directory, as [fs.ReadDirFile] specifies.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, f.fail("readdir", fs.ErrClosed)
	case !f.info.IsDir():
		return nil, f.fail("readdir", syscall.ENOTDIR)
	}
	if !f.listed {
		entries, err := f.c.ReadDir(f.ctx, f.name, f.flags...)
		if err != nil {
			return nil, renamed(err, "readdir", f.shown)
		}
		f.entries, f.listed = entries, true
	}
	if n > 0 && len(f.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.entries) {
		n = len(f.entries)
	}
	list := dirEntries(f.entries[:n])
	f.entries = f.entries[n:]
	return list, nil
}

func dirEntries(infos []*FileInfo) []fs.DirEntry {
	list := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		list[i] = info
	}
	return list
}

// Close ends the stream and drops what was not read.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	if f.stream != nil {
		f.stream.Close()
	}
	return nil
}

var (
	_ fs.ReadDirFile = (*File)(nil)
	_ io.ReaderAt    = (*File)(nil)
	_ io.ReadSeeker  = (*File)(nil)
	_ io.WriterTo    = (*File)(nil)
)
