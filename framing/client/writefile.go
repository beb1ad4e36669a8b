package client

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"wick/framing"
)

// contentBuffer is the size of the pieces in which content is sent, in bytes. A write_file that
// fits one is sent like any other request.
const contentBuffer = 64 << 10

var contentBuffers = sync.Pool{New: func() any { return new([contentBuffer]byte) }}

// WriteFileOptions are the options of [Client.WriteFile].
type WriteFileOptions struct {
	// Root writes as root: through sudo -n tee, unless the agent is root.
	Root bool
	// Append appends the content to the file, in place, once all of it has arrived. A missing file
	// is created. With it a file of any length can be sent in pieces, the first of them without
	// Append. [Client.WriteStream] sends it at once, and replaces the old file in one step.
	Append bool
}

// MaxContent returns how many bytes [Client.WriteFile] can send to path: what a frame of 16 MiB has
// room for.
func MaxContent(path string) int64 {
	head := framing.WriteFile{Path: []byte(path)}
	return int64(framing.MaxPayload - head.PayloadSize())
}

// WriteFile writes the next size bytes of content to the guest's file at path, and returns when
// they are written. The guest makes missing directories, and replaces the file in one step; after
// an error the file is unchanged. More than [MaxContent] bytes are a [*RequestError].
// [Client.WriteStream] has no such limit, with a current agent.
//
// The content is sent in one frame while it is read, and never held in memory. Other requests wait
// meanwhile, so gather content that comes slowly first. A frame cannot be taken back once it has
// begun. If content then ends early or fails, or ctx ends, the connection is closed and the error
// is a [*ContentError] with Closed set. Content that fits 64 KiB with its path, and the first 64
// KiB of any other, are read before anything is sent: an error there does not cost the connection.
// A Read that blocks is not interrupted.
//
// Otherwise the error is a [*WriteFileError], or wraps the context's, [ErrClosed], a [*ConnError],
// or a [*RemoteError].
func (c *Client) WriteFile(ctx context.Context, path string, content io.Reader, size int64, o WriteFileOptions) error {
	switch limit := MaxContent(path); {
	case len(path) > framing.MaxText:
		return &RequestError{Op: "write_file", Reason: fmt.Sprintf("path has %d bytes, a frame holds %d", len(path), framing.MaxText)}
	case size < 0:
		return &RequestError{Op: "write_file", Reason: fmt.Sprintf("size %d is negative", size)}
	case size > limit:
		return &RequestError{Op: "write_file", Reason: fmt.Sprintf("content has %d bytes, a frame to %s holds %d", size, path, limit)}
	}
	call := newCall(framing.TypeWriteFileResult)
	defer call.release()
	w := &writeFileSender{
		c: c, call: call, path: path, content: content, size: size,
		head: framing.WriteFile{Path: []byte(path), Sudo: o.Root, Append: o.Append, Size: int(size)},
	}
	if err := w.send(ctx); err != nil {
		if _, ok := err.(*ContentError); ok {
			return err
		}
		return fmt.Errorf("write_file %s: %w", path, err)
	}
	if !call.ok {
		return &WriteFileError{Path: path, Reason: call.reply.reason}
	}
	return nil
}

// writeFileSender sends the frame of one WriteFile.
type writeFileSender struct {
	c       *Client
	call    *call
	path    string
	content io.Reader
	size    int64
	head    framing.WriteFile
	read    atomic.Int64 // of content
}

// send sends the frame and waits for its reply.
func (w *writeFileSender) send(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	buf := contentBuffers.Get().(*[contentBuffer]byte)
	defer contentBuffers.Put(buf)
	first := buf[:min(w.size, contentBuffer)]
	if err := w.fill(first); err != nil {
		return w.brokenOff(err, false)
	}
	frameSize := framing.HeaderSize + w.head.PayloadSize()
	if frameSize <= contentBuffer {
		return w.c.roundTrip(ctx, w.call, frameSize, func(dst []byte, seq uint32) []byte {
			return append(framing.AppendWriteFileHead(dst, seq, &w.head), first...)
		})
	}
	if err := w.stream(ctx, buf, first); err != nil {
		w.c.abandon(w.call)
		return err
	}
	return w.c.wait(ctx, w.call)
}

// stream writes the frame in a turn of its own. Its content begins with first, which is in buf.
func (w *writeFileSender) stream(ctx context.Context, buf *[contentBuffer]byte, first []byte) error {
	c := w.c
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
	if err := ctx.Err(); err != nil {
		return err // select may have preferred the turn
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.register(w.call)
	c.mu.Unlock()

	// From here on the frame is completed or the connection closed. Closing it also ends a Write
	// that the guest does not take.
	gaveUp := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { gaveUp <- w.breakOff(ctx.Err()) })
	err := w.writePieces(buf, append(framing.AppendWriteFileHead(nil, w.call.seq, &w.head), first...))
	if !stop() {
		err = <-gaveUp
	}
	return err
}

// writePieces writes piece and then the rest of the content, through buf. Its error is a
// *ContentError if the content failed.
func (w *writeFileSender) writePieces(buf *[contentBuffer]byte, piece []byte) error {
	for {
		if _, err := w.c.conn.Write(piece); err != nil {
			// The guest may have refused the file before it left. If not, the end of the connection
			// follows and is the reply.
			w.c.writeFailed(err)
			return nil
		}
		left := w.size - w.read.Load()
		if left == 0 {
			return nil
		}
		piece = buf[:min(left, contentBuffer)]
		if err := w.fill(piece); err != nil {
			return w.breakOff(err)
		}
	}
}

// breakOff closes the connection within the frame, and returns why.
func (w *writeFileSender) breakOff(err error) error {
	err = w.brokenOff(err, true)
	w.c.end(&ConnError{Err: err})
	return err
}

// fill reads all of p from the content.
func (w *writeFileSender) fill(p []byte) error {
	n, err := io.ReadFull(w.content, p)
	w.read.Add(int64(n))
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *writeFileSender) brokenOff(err error, closed bool) error {
	return &ContentError{Path: w.path, Size: w.size, Read: w.read.Load(), Err: err, Closed: closed}
}
