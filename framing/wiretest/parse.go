package wiretest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

const (
	// HeaderSize is the size of length, type and seq.
	HeaderSize = 9
	// MaxLength is the greatest value of a length, the least is 5.
	MaxLength = 16 << 20
)

// A Frame is a frame as it stands in a stream.
type Frame struct {
	Type    byte
	Seq     uint32
	Payload []byte
}

// Size is the size of the whole frame.
func (f Frame) Size() int { return HeaderSize + len(f.Payload) }

// String names the frame, with its payload if that is short.
func (f Frame) String() string {
	name := fmt.Sprintf("0x%02X", f.Type)
	if m := ByType(f.Type); m != nil {
		name = m.Name
	}
	if len(f.Payload) > 200 {
		return fmt.Sprintf("%s seq %d (%d bytes)", name, f.Seq, len(f.Payload))
	}
	return fmt.Sprintf("%s seq %d %q", name, f.Seq, f.Payload)
}

// A LengthError is a length that no frame may have.
type LengthError uint32

func (e LengthError) Error() string { return fmt.Sprintf("a frame's length is %d", uint32(e)) }

// Cut takes the first frame off b. The frame is nil if b does not have all of it; its payload
// aliases b.
func Cut(b []byte) (f *Frame, rest []byte, err error) {
	if len(b) < 4 {
		return nil, b, nil
	}
	length := binary.BigEndian.Uint32(b)
	if length < 5 || length > MaxLength {
		return nil, b, LengthError(length)
	}
	if uint64(len(b)) < 4+uint64(length) {
		return nil, b, nil
	}
	f = &Frame{Type: b[4], Seq: binary.BigEndian.Uint32(b[5:]), Payload: b[HeaderSize : 4+length]}
	return f, b[4+length:], nil
}

// ReadFrame reads a frame.
func ReadFrame(r io.Reader) (f Frame, err error) {
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return f, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 5 || length > MaxLength {
		return f, LengthError(length)
	}
	if _, err = io.ReadFull(r, head[4:]); err == nil {
		f = Frame{head[4], binary.BigEndian.Uint32(head[5:]), make([]byte, length-5)}
		_, err = io.ReadFull(r, f.Payload)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return f, err
}

// A Field is a field of a message: a number, a text or a list.
type Field struct {
	Name   string
	Number uint64 // or a list's count
	Text   []byte
	List   []Fields
	kind   byte
}

// IsText reports whether the field is a text.
func (f *Field) IsText() bool { return f.kind != 'u' && f.kind != 'i' && f.kind != '{' }

// IsList reports whether the field is a list.
func (f *Field) IsList() bool { return f.kind == '{' }

// String is the field's text, or its number in decimal.
func (f *Field) String() string {
	switch {
	case f.IsText():
		return string(f.Text)
	case f.kind == 'i':
		return strconv.FormatInt(int64(f.Number), 10)
	}
	return strconv.FormatUint(f.Number, 10)
}

// Fields are the fields of a message in their order.
type Fields []Field

// Get returns the field of that name. There must be one.
func (fs Fields) Get(name string) *Field {
	for i := range fs {
		if fs[i].Name == name {
			return &fs[i]
		}
	}
	panic("wiretest: no field " + name)
}

// Int returns the number of a field.
func (fs Fields) Int(name string) int { return int(fs.Get(name).Number) }

// Text returns the text of a field.
func (fs Fields) Text(name string) string { return string(fs.Get(name).Text) }

// List returns the entries of a field.
func (fs Fields) List(name string) []Fields { return fs.Get(name).List }

// Parse takes a payload apart. It must be used up exactly, and every field must have a legal
// value.
func Parse(typ byte, payload []byte) (Fields, error) {
	m := ByType(typ)
	if m == nil {
		return nil, fmt.Errorf("type 0x%02X is unknown", typ)
	}
	for _, form := range m.forms {
		r := Reader{Rest: payload}
		fs := r.fields(form)
		switch {
		case r.Short || len(r.Rest) > 0:
		case r.bad != "" || !legal(typ, fs):
			return nil, fmt.Errorf("bad %s %s: %s", m.Name, Brief(payload), r.bad)
		default:
			return fs, nil
		}
	}
	return nil, fmt.Errorf("bad %s %s: its payload does not add up", m.Name, Brief(payload))
}

// ParseFirst takes a message off the front of b, as the entries of a list stand in an output.
func ParseFirst(typ byte, b []byte) (fs Fields, rest []byte, err error) {
	r := Reader{Rest: b}
	fs = r.fields(ByType(typ).forms[0])
	if r.Short || r.bad != "" {
		return nil, nil, fmt.Errorf("bad %s %s: short: %v; %s", ByType(typ).Name, Brief(b), r.Short, r.bad)
	}
	return fs, r.Rest, nil
}

// legal knows the rules that concern more than one field.
func legal(typ byte, fs Fields) bool {
	switch typ {
	case Start:
		words := len(fs.List("args"))
		return words == 1 || words > 1 && fs.Int("flags")&1 == 0
	case Change:
		return fs.Int("op") == 10 || !bytes.Contains(fs.Get("other").Text, []byte{0})
	}
	return true
}

// A Reader takes fields off the front of a payload.
type Reader struct {
	Rest  []byte
	Short bool   // there was less than what was to be taken
	bad   string // the field that has an illegal value
}

// Take takes n bytes. It returns none, and Short is set, if there are not that many.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.Rest)) {
		r.Short = true
		return nil
	}
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

// Number takes a number of that many bytes.
func (r *Reader) Number(size int) (n uint64) {
	for _, c := range r.Take(uint64(size)) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (r *Reader) fields(layout []item) (fs Fields) {
	for _, it := range layout {
		f := Field{Name: it.name, kind: it.kind}
		switch it.kind {
		case '?':
			if uint64(fs.Int(it.name))&it.bits == 0 {
				return fs
			}
			continue
		case '*':
			f.Text = r.Take(uint64(len(r.Rest)))
		case '{':
			f.Number = r.Number(it.size)
			for i := uint64(0); i < f.Number && !r.Short; i++ {
				f.List = append(f.List, r.fields(it.group))
			}
		case 'u', 'i':
			f.Number = r.Number(it.size)
			if f.Number < it.least || f.Number > it.most || f.Number&^it.bits != 0 {
				r.bad = it.name
			}
			if shift := 64 - 8*it.size; it.kind == 'i' {
				f.Number = uint64(int64(f.Number<<shift) >> shift)
			}
		default:
			f.Text = r.Take(r.Number(it.size))
			if it.kind != 't' && bytes.IndexByte(f.Text, 0) >= 0 ||
				it.kind == 'k' && bytes.IndexByte(f.Text, '=') >= 0 ||
				(it.kind == 'k' || it.kind == 'n') && len(f.Text) == 0 {
				r.bad = it.name
			}
		}
		fs = append(fs, f)
	}
	return fs
}

// Brief quotes the part of a text that a failure has room for.
func Brief(b []byte) string {
	const keep = 80
	if len(b) <= 2*keep {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q…%q (%d bytes)", b[:keep], b[len(b)-keep:], len(b))
}
