package client

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"wick/framing"
)

// A download is a stream from the guest that ends with a done: a read, a list or a kernel log.
type download struct {
	remote
	*inbox
	op, path string

	mu     sync.Mutex
	closed bool
	unlink func() bool // stops watching the context
}

// download opens a stream of at most limit bytes, or of any number with 0. If ctx ends so does the
// stream, with the context's error.
func (c *Client) download(ctx context.Context, op, path string, window int, limit int64, encode func(dst []byte, seq, credit uint32) []byte) (*download, error) {
	if err := checkPath(op, path); err != nil {
		return nil, err
	}
	return c.downloadFor(ctx, framing.FeatureFiles, op, path, window, limit, encode)
}

// downloadFor is download for a feature. op and path are for errors.
func (c *Client) downloadFor(ctx context.Context, feature Features, op, path string, window int, limit int64, encode func(dst []byte, seq, credit uint32) []byte) (*download, error) {
	err := c.need(ctx, feature)
	d := &download{inbox: newInbox(framing.StreamOutput, window), op: op, path: path}
	d.inbox.limit = uint64(limit)
	if err == nil {
		var credit uint32
		err = c.openChannel(ctx, d, 64+len(path), func(r remote) {
			d.remote = r
			credit, _ = d.resume(r)
			d.opened()
		}, func(dst []byte, seq uint32) []byte { return encode(dst, seq, credit) })
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", op, path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.unlink = context.AfterFunc(ctx, func() {
			d.fail(fmt.Errorf("%s %s: %w", op, path, ctx.Err()))
			d.Close()
		})
	}
	return d, nil
}

// over stops watching the context, because nothing more comes or is wanted. It reports whether it
// was over before.
func (d *download) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.closed
	d.closed = true
	if d.unlink != nil {
		d.unlink()
	}
	return before
}

// receive implements receiver.
func (d *download) receive(f *frame) (last bool, err error) {
	switch f.Type {
	case framing.TypeOutput:
		s, data, err := framing.ParseOutput(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if s != framing.StreamOutput {
			return false, protocolErrorf("output of unknown stream %d", s)
		}
		return false, d.inbox.receive(data)
	case framing.TypeClose:
		return false, nil // the done that follows says how it ended
	case framing.TypeDone:
		r, err := framing.ParseDone(f.Payload)
		switch {
		case err != nil:
			return false, &ProtocolError{Err: err}
		case r.Errno == 0:
			d.end()
		default:
			d.fail(&fs.PathError{Op: d.op, Path: d.path, Err: guestErrno(r.Errno)})
		}
		d.over()
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		d.fail(fmt.Errorf("%s %s: %w", d.op, d.path, &RemoteError{Seq: f.Seq, Message: string(message)}))
		d.over()
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a %s", f.Type, d.op)
}

// lost implements receiver.
func (d *download) lost(err error) {
	d.fail(fmt.Errorf("%s %s: %w", d.op, d.path, err))
	d.over()
}

// Close ends the stream and drops what has come and was not read.
func (d *download) Close() error {
	if !d.over() {
		d.c.closeChannel(d.seq)
		d.remote.close(framing.StreamOutput)
	}
	d.drain(false)
	return nil
}

// readWindow is the credit of a read, in bytes.
const readWindow = DefaultWindow

// OpenRead reads a regular file or a block device of the guest: length bytes from offset, or up to
// its end if length is 0. The stream's errors are those of [Client.Stat]. If the file cannot be
// opened the first Read fails. The stream must be closed, or read to its end.
func (c *Client) OpenRead(ctx context.Context, path string, offset, length int64, flags ...FileFlags) (io.ReadCloser, error) {
	return c.openRead(ctx, path, offset, length, readWindow, flags...)
}

// openRead is OpenRead with a window.
func (c *Client) openRead(ctx context.Context, path string, offset, length int64, window int, flags ...FileFlags) (*download, error) {
	if offset < 0 || length < 0 {
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EINVAL}
	}
	return c.download(ctx, "read", path, window, length, func(dst []byte, seq, credit uint32) []byte {
		return framing.AppendRead(dst, seq, &framing.Read{
			Flags: fileFlags(flags), Offset: uint64(offset), Length: uint64(length), Credit: credit, Path: []byte(path),
		})
	})
}
