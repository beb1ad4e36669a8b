package client

import (
	"context"
	"io"
	"net"

	"wick/framing"
)

// readBuffer is the size of the buffer through which frames are read, in bytes. A frame that fits
// is parsed in place.
const readBuffer = 64 << 10

// A reader cuts the stream from the guest into frames.
type reader struct {
	conn   io.Reader
	dec    framing.Decoder
	buf    []byte
	lo, hi int // buf[lo:hi] was read and not taken yet
	part   framing.Part
	// keep is called once for each frame that does not fit buf. It reports whether to hold the
	// payload.
	keep func(framing.Header) bool
}

func newReader(conn io.Reader) *reader {
	return &reader{conn: conn, dec: framing.Decoder{Window: readBuffer}, buf: make([]byte, readBuffer)}
}

// frame is a frame from the reader.
type frame struct {
	framing.Header
	// Payload is nil if keep said no.
	Payload []byte
	// Owned says that Payload has memory of its own. Otherwise it is in the reader's buffer, and is
	// valid until the next call.
	Owned bool
}

// next returns the next frame. At the end the error is io.EOF between two frames, and
// io.ErrUnexpectedEOF within one. A length out of range is a *ProtocolError.
func (r *reader) next() (frame, error) {
	var f frame
	for {
		n, err := r.dec.Next(r.buf[r.lo:r.hi], &r.part)
		if err != nil {
			return frame{}, &ProtocolError{Err: err}
		}
		if n == 0 {
			if err := r.fill(); err != nil {
				return frame{}, err
			}
			continue
		}
		r.lo += n
		p := &r.part
		if p.First() && p.Last() {
			return frame{Header: p.Header, Payload: p.Data}, nil
		}
		if p.First() {
			f = frame{Header: p.Header}
			if r.keep == nil || r.keep(p.Header) {
				f.Payload, f.Owned = make([]byte, p.Size), true
			}
		}
		if f.Owned {
			copy(f.Payload[p.Offset:], p.Data)
		}
		if p.Last() {
			return f, nil
		}
	}
}

// fill reads once into the free part of the buffer.
func (r *reader) fill() error {
	if r.lo > 0 {
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	n, err := r.conn.Read(r.buf[r.hi:])
	r.hi += n
	if n > 0 || err == nil {
		return nil // a persistent error comes again
	}
	if err == io.EOF && (r.hi > 0 || r.dec.Mid()) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// turnedAway returns an error about the connection that the guest sent right after ready, as a
// *RemoteError: the guest has too many connections and has closed this one. It sends both at once.
func (r *reader) turnedAway() error {
	dec := framing.Decoder{Window: readBuffer}
	var p framing.Part
	n, err := dec.Next(r.buf[r.lo:r.hi], &p)
	if n == 0 || err != nil || p.Type != framing.TypeError || p.Seq != 0 || !p.Last() {
		return nil //nolint:nilerr // the reading goroutine handles it
	}
	message, err := framing.ParseError(p.Data)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	return &RemoteError{Message: string(message)}
}

// greet waits for the guest's ready on conn and returns a client of it. On error it closes conn.
func greet(ctx context.Context, conn net.Conn, o options) (*Client, error) {
	r := newReader(conn)
	done := interruptible(ctx, conn.SetReadDeadline)
	f, err := r.next()
	done()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil:
	case f.Type == framing.TypeReady && f.Seq == 0 && f.Size == 0:
		if err = r.turnedAway(); err == nil {
			return newClient(conn, r, o), nil
		}
	case f.Type == framing.TypeError && f.Seq == 0:
		message, perr := framing.ParseError(f.Payload)
		if perr != nil {
			err = &ProtocolError{Err: perr}
			break
		}
		err = &BootError{Message: string(message)}
	default:
		err = protocolErrorf("%v with seq %d and %d bytes in place of ready", f.Type, f.Seq, f.Size)
	}
	conn.Close()
	return nil, err
}
