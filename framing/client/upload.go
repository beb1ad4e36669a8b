package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"wick/framing"
)

// Owner is the owner of a file, by numbers.
type Owner struct{ UID, GID uint32 }

// WriteOptions are the options of [Client.Create] and [Client.WriteStream]. The zero value replaces
// the file in one step, and keeps the mode and owner of an existing one.
type WriteOptions struct {
	// Mode sets the mode, if it is not 0.
	Mode fs.FileMode
	// Owner sets the owner, if it is not nil.
	Owner *Owner
	// Parents makes missing directories, with mode 0755.
	Parents bool
	// Exclusive fails with EEXIST if the file exists.
	Exclusive bool
	// Sync writes the content to the disk before Close returns.
	Sync bool
	// Safe fails with ELOOP at a symbolic link anywhere in the path.
	Safe bool
	// InPlace changes the existing file, which is then incomplete if writing is interrupted; a
	// missing file is made. The other three need it: content goes to Offset, or with Append to the
	// end. With Truncate the file ends where the content ends.
	InPlace          bool
	Offset           int64
	Append, Truncate bool
}

// wire returns o as the payload of a write.
func (o *WriteOptions) wire(path string) *framing.Write {
	w := &framing.Write{Mode: unixMode(o.Mode), Offset: uint64(o.Offset), Path: []byte(path)}
	if o.Owner != nil {
		w.UID, w.GID = o.Owner.UID, o.Owner.GID
	}
	for _, f := range []struct {
		set  bool
		flag framing.WriteFlags
	}{
		{o.Safe, framing.WriteSafe}, {o.InPlace, framing.WriteInPlace}, {o.Exclusive, framing.WriteExclusive}, {o.Sync, framing.WriteSync},
		{o.Mode != 0, framing.WriteMode}, {o.Owner != nil, framing.WriteOwner}, {o.Parents, framing.WriteParents},
		{o.Append, framing.WriteAppend}, {o.Truncate, framing.WriteTruncate},
	} {
		if f.set {
			w.Flags |= f.flag
		}
	}
	return w
}

// A FileWriter writes a file of the guest. It is for one goroutine at a time.
type FileWriter struct {
	remote
	ctx    context.Context
	path   string
	unlink func() bool

	mu      sync.Mutex
	changed sync.Cond
	// mu guards the fields from here on.
	open   bool  // the guest has opened the file
	credit int64 // how much may be sent
	sent   int64
	over   bool // done has arrived, or err is set
	err    error
}

// Create opens a file of the guest for writing. Its content is complete after Close. After
// [FileWriter.Abort], or if ctx or the connection ends before Close, the file is unchanged, unless
// InPlace is set.
func (c *Client) Create(ctx context.Context, path string, o WriteOptions) (*FileWriter, error) {
	if err := checkPath("write", path); err != nil {
		return nil, err
	}
	if o.Offset < 0 {
		return nil, &fs.PathError{Op: "write", Path: path, Err: syscall.EINVAL}
	}
	if err := c.need(ctx, framing.FeatureFiles); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	w := &FileWriter{ctx: ctx, path: path}
	w.changed.L = &w.mu
	err := c.openChannel(ctx, w, 64+len(path), func(r remote) { w.remote = r }, func(dst []byte, seq uint32) []byte {
		return framing.AppendWrite(dst, seq, o.wire(path))
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	w.unlink = context.AfterFunc(ctx, func() { w.giveUp(ctx.Err()) })
	w.mu.Lock()
	for !w.open && !w.over {
		w.changed.Wait()
	}
	err = w.err
	w.mu.Unlock()
	if err != nil {
		w.unlink()
		return nil, err
	}
	return w, nil
}

// receive implements receiver.
func (w *FileWriter) receive(f *frame) (last bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.changed.Broadcast()
	switch f.Type {
	case framing.TypeCredit:
		_, n, err := framing.ParseCredit(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		w.open = true
		w.credit += int64(n)
		return false, nil
	case framing.TypeClose:
		return false, nil // the done that follows says why
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		err = pathError("write", w.path, &d)
		if err == nil && d.Value != uint64(w.sent) {
			err = &fs.PathError{Op: "write", Path: w.path, Err: io.ErrShortWrite} // done came before all content was sent
		}
		w.finish(err)
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		w.finish(fmt.Errorf("write %s: %w", w.path, &RemoteError{Seq: f.Seq, Message: string(message)}))
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a write", f.Type)
}

// finish records the end of the write. w.mu is held.
func (w *FileWriter) finish(err error) {
	if !w.over {
		w.over, w.err = true, err
	}
}

// lost implements receiver.
func (w *FileWriter) lost(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finish(fmt.Errorf("write %s: %w", w.path, err))
	w.changed.Broadcast()
}

// giveUp makes the guest leave the file unchanged.
func (w *FileWriter) giveUp(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.finish(fmt.Errorf("write %s: %w", w.path, cause))
	w.c.closeChannel(w.seq)
	w.remote.close(framing.StreamOutput)
	w.changed.Broadcast()
}

// Write sends p as fast as the guest writes it.
func (w *FileWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		k, err := w.await(len(p) - n)
		if err != nil {
			return n, err
		}
		w.input(w.ctx, p[n:n+k])
		n += k
	}
	return n, nil
}

// await waits for credit, and takes at most want bytes of it.
func (w *FileWriter) await(want int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.err != nil:
			return 0, w.err
		case w.over:
			return 0, fs.ErrClosed
		case w.credit > 0:
			n := min(int64(want), w.credit, inputFrameMax)
			w.credit -= n
			w.sent += n
			return int(n), nil
		}
		w.changed.Wait()
	}
}

// Close ends the content, and returns when the file is complete. After an error the file is
// unchanged. Only if the context or the connection ended during Close may the file be complete.
func (w *FileWriter) Close() error {
	defer w.unlink()
	if err := w.ctx.Err(); err != nil {
		w.giveUp(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.remote.close(framing.StreamInput)
	}
	for !w.over {
		w.changed.Wait()
	}
	return w.err
}

// Abort abandons the file, and does not wait. After Close it does nothing.
func (w *FileWriter) Abort() {
	w.unlink()
	w.giveUp(errAborted)
}

var errAborted = errors.New("aborted by this side")

// ReadFrom implements io.ReaderFrom. It reads no more than may be sent.
func (w *FileWriter) ReadFrom(r io.Reader) (n int64, err error) {
	buf := contentBuffers.Get().(*[contentBuffer]byte)
	defer contentBuffers.Put(buf)
	for {
		k, rerr := r.Read(buf[:inputFrameMax])
		if k > 0 {
			written, err := w.Write(buf[:k])
			n += int64(written)
			if err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}

// WriteStream writes all of r, of any length, to the guest's file at path, and returns the number
// of bytes. If r fails the file is unchanged, unless InPlace is set.
func (c *Client) WriteStream(ctx context.Context, path string, r io.Reader, o WriteOptions) (int64, error) {
	w, err := c.Create(ctx, path, o)
	if err != nil {
		return 0, err
	}
	n, err := w.ReadFrom(r)
	if err != nil {
		w.Abort()
		return n, err
	}
	return n, w.Close()
}
