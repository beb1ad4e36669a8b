package framing

// Part is a whole frame, or a piece of one longer than the decoder's window. Every piece has the
// frame's header.
type Part struct {
	Header
	// Offset is the offset of Data in the payload, in bytes.
	Offset int
	// Data aliases the bytes given to Next, and is valid as long as they are. Its capacity is its
	// length, so appending to it does not overwrite what follows.
	Data []byte
}

// First reports whether the part begins its frame's payload. A whole frame is both first and last.
func (p *Part) First() bool { return p.Offset == 0 }

// Last reports whether the part ends its frame's payload.
func (p *Part) Last() bool { return p.Offset+len(p.Data) == p.Size }

// Decoder cuts a byte stream into frames. It holds no bytes: the caller keeps what Next does not
// take, and passes it again with more bytes appended. The zero Decoder with Window set is ready.
//
// A length field out of range is an error as soon as its four bytes are there. The decoder
// allocates nothing, whatever length a frame claims. It does not interpret types and payloads.
type Decoder struct {
	// Window is the capacity of the caller's buffer in bytes, at least HeaderSize+1. A frame
	// (header and payload) of at most that size is returned whole. A longer one is returned in
	// pieces as they arrive, the first as soon as a byte of payload is there. Window may be changed
	// between frames, not while Mid.
	Window int

	// left is the number of bytes missing of the frame that is returned in pieces, or failed. While
	// it is not 0, b does not begin with a header: the only fact that the fast path of Next needs.
	left int
	// head is the header of that frame.
	head Header
	err  error
}

// failed is the value of Decoder.left after an error.
const failed = -1

// Next takes the next part off the front of b into p and returns the bytes taken. If it returns 0
// and nil, b must grow, and p is unchanged. A *LengthError is final, and every later call returns
// it.
//
// It takes nothing of a frame before it can return a part, but never waits for more than Window
// bytes. So a caller that moves the rest to the front of a buffer of that size always has room to
// read.
func (d *Decoder) Next(b []byte, p *Part) (n int, err error) {
	// The fast path is for a whole frame. Subtracting first makes one comparison of the length's
	// two limits.
	if len(b) >= HeaderSize && d.left == 0 {
		if size := u32(b) - MinLength; size <= MaxPayload {
			end := HeaderSize + int(size)
			if end <= len(b) && end <= d.Window {
				p.Type = Type(b[4])
				p.Seq = u32(b[5:])
				p.Size = int(size)
				p.Offset = 0
				p.Data = b[HeaderSize:end:end]
				return end, nil
			}
		}
	}
	return d.next(b, p)
}

// next is Next if b does not begin with a whole frame.
func (d *Decoder) next(b []byte, p *Part) (int, error) {
	switch {
	case d.left == failed:
		return 0, d.err
	case d.left > 0:
		return d.piece(b, 0, p), nil
	case len(b) < 4:
		return 0, nil
	}
	length := u32(b)
	if length < MinLength || length > MaxLength {
		d.left, d.err = failed, &LengthError{Length: length}
		return 0, d.err
	}
	size := int(length - MinLength)
	if len(b) < HeaderSize {
		return 0, nil
	}
	if size == 0 {
		// This happens only if the window is smaller than a header. There is no empty piece, so the
		// frame is returned all the same.
		*p = Part{Header: Header{Type: Type(b[4]), Seq: u32(b[5:])}}
		return HeaderSize, nil
	}
	if HeaderSize+size <= d.Window || len(b) == HeaderSize {
		return 0, nil
	}
	d.head = Header{Type: Type(b[4]), Seq: u32(b[5:]), Size: size}
	d.left = size
	return d.piece(b, HeaderSize, p), nil
}

// piece returns what b has, from start, of the current frame, and the end of it.
func (d *Decoder) piece(b []byte, start int, p *Part) int {
	if len(b) == start {
		return 0
	}
	end := start + min(len(b)-start, d.left)
	p.Header = d.head
	p.Offset = d.head.Size - d.left
	p.Data = b[start:end:end]
	d.left -= end - start
	return end
}

// Head returns the header that b begins with, if it is whole and b is not within a frame.
func (d *Decoder) Head(b []byte) (h Header, ok bool) {
	if d.left != 0 || len(b) < HeaderSize {
		return h, false
	}
	return Header{Type: Type(b[4]), Seq: u32(b[5:]), Size: int(u32(b)) - MinLength}, true
}

// Begin is told that the header of a frame with a payload was taken. Next returns the payload in
// pieces, whatever its size.
func (d *Decoder) Begin(h Header) { d.head, d.left = h, h.Size }

// Left returns how many bytes are missing of the frame that is returned in pieces; 0 between
// frames.
func (d *Decoder) Left() int { return max(d.left, 0) }

// Skip is told that the next n of these bytes went elsewhere. Next gets those behind them.
func (d *Decoder) Skip(n int) { d.left -= n }

// Mid reports whether the decoder is within a frame that it returns in pieces.
func (d *Decoder) Mid() bool { return d.left > 0 }
