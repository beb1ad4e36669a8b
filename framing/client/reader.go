package client

import (
	"context"
	"io"
	"net"

	"wick/framing"
)

// readBuffer is the size of the buffer that frames are read through, in bytes. A frame that fits is parsed where it lies.
const readBuffer = 64 << 10

// A reader cuts what comes from the guest into frames.
type reader struct {
	conn   io.Reader
	dec    framing.Decoder
	buf    []byte
	lo, hi int // buf[lo:hi] was read and not yet taken
	part   framing.Part
	// keep is asked once for each frame that does not fit buf whether its payload is worth holding.
	keep func(framing.Header) bool
}

func newReader(conn io.Reader) *reader {
	return &reader{conn: conn, dec: framing.Decoder{Window: readBuffer}, buf: make([]byte, readBuffer)}
}

// frame is a frame as reader hands it out.
type frame struct {
	framing.Header
	// Payload is nil if it was not worth keeping.
	Payload []byte
	// Owned says that Payload is a slice of its own; otherwise it lies in the reader's buffer, and is good until the next call.
	Owned bool
}

// next returns the next frame. At the end it is io.EOF between two frames and io.ErrUnexpectedEOF within one; a length
// that is out of range is a *ProtocolError.
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

// fill reads once behind what the buffer holds.
func (r *reader) fill() error {
	if r.lo > 0 {
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	n, err := r.conn.Read(r.buf[r.hi:])
	r.hi += n
	if n > 0 || err == nil {
		return nil // an error comes again
	}
	if err == io.EOF && (r.hi > 0 || r.dec.Mid()) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// turnedAway returns what the guest says right behind its ready if that speaks of the connection as a whole, as a *RemoteError: it has too many
// of them, and has closed this one. The guest sends both at once.
func (r *reader) turnedAway() error {
	dec := framing.Decoder{Window: readBuffer}
	var p framing.Part
	n, err := dec.Next(r.buf[r.lo:r.hi], &p)
	if n == 0 || err != nil || p.Type != framing.TypeError || p.Seq != 0 || !p.Last() {
		return nil //nolint:nilerr // the reading goroutine sees it too, and reports it
	}
	message, err := framing.ParseError(p.Data)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	return &RemoteError{Message: string(message)}
}

// greet waits for the guest's ready on conn and makes a client of it. It closes conn if there is none to be had.
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
