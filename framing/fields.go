package framing

import "bytes"

// fields takes the fields of a payload off its front, one after another. It keeps the first error,
// and everything after it is zero. So a parser reads like the table that it implements, and checks
// once, at its end. Functions that every parser and encoder calls are not inlined, which saves 17
// kB. It costs no frequent message: those are ping and the bytes of outputs and files.
type fields struct {
	b      []byte
	reason string
}

// fail keeps the first reason.
//
//go:noinline
func (f *fields) fail(reason string) {
	if f.reason == "" {
		f.reason = reason
	}
	f.b = nil
}

// take takes n bytes.
//
//go:noinline
func (f *fields) take(n int, reason string) []byte {
	if n > len(f.b) {
		f.fail(reason)
		return nil
	}
	taken := f.b[:n:n]
	f.b = f.b[n:]
	return taken
}

// number takes a number of n bytes.
//
//go:noinline
func (f *fields) number(n int) (v uint64) {
	for _, c := range f.take(n, reasonShort) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (f *fields) u8() uint8   { return uint8(f.number(1)) }
func (f *fields) u16() uint16 { return uint16(f.number(2)) }
func (f *fields) u32() uint32 { return uint32(f.number(4)) }
func (f *fields) u64() uint64 { return f.number(8) }

// text8, text16 and text32 take a text with a count of so many bits.
func (f *fields) text8() []byte  { return f.take(int(f.u8()), reasonCount) }
func (f *fields) text16() []byte { return f.take(int(f.u16()), reasonCount) }

func (f *fields) text32() []byte {
	n := f.u32()
	if !within(n, len(f.b)) {
		f.fail(reasonCount)
		return nil
	}
	return f.take(int(n), reasonCount)
}

// word16 and word32 take a text that must not have a NUL: a path, a name, a word of a command.
func (f *fields) word16() []byte { return f.word(f.text16(), reasonText) }
func (f *fields) word32() []byte { return f.word(f.text32(), reasonText) }

//go:noinline
func (f *fields) word(b []byte, reason string) []byte {
	if bytes.IndexByte(b, 0) >= 0 {
		f.fail(reason)
		return nil
	}
	return b
}

// known refuses flags that are not among those known.
func (f *fields) known(flags, known uint16) {
	if flags&^known != 0 {
		f.fail(reasonFlag)
	}
}

// rest takes the rest of the payload.
func (f *fields) rest() []byte { return f.take(len(f.b), "") }

// count returns n, a count of entries, if the rest of the payload can hold that many of at least
// least bytes each. So a count cannot cost more than the payload that has it.
func (f *fields) count(n uint32, least int) int {
	if uint64(n)*uint64(least) > uint64(len(f.b)) {
		f.fail(reasonCount)
		return 0
	}
	return int(n)
}

// since returns what was taken since the rest was was. Appending to it does not overwrite what
// follows.
func (f *fields) since(was []byte) []byte {
	n := len(was) - len(f.b)
	return was[:n:n]
}

// end is the error of the payload: nil if all of it was taken and nothing was wrong.
//
//go:noinline
func (f *fields) end(t Type) error {
	if f.reason == "" && len(f.b) > 0 {
		f.reason = reasonLong
	}
	if f.reason != "" {
		return &PayloadError{t, f.reason}
	}
	return nil
}

// maxCount is the greatest 16-bit count.
const maxCount = 1<<16 - 1

// appendText16 appends a text with its count, and cuts it to maxCount bytes. A guest refuses a
// path, name or user of that length in any case.
func appendText16[T string | []byte](dst []byte, text T) []byte {
	text = text[:min(len(text), MaxText)]
	return append(appendU16(dst, uint16(len(text))), text...)
}

func appendText8[T string | []byte](dst []byte, text T) []byte {
	text = text[:min(len(text), 255)]
	return append(append(dst, byte(len(text))), text...)
}

func appendText32[T string | []byte](dst []byte, text T) []byte {
	return append(appendU32(dst, uint32(len(text))), text...)
}

//go:noinline
func appendU64(dst []byte, v uint64) []byte {
	return appendU32(appendU32(dst, uint32(v>>32)), uint32(v))
}

// begin appends a header whose length is not known yet, and finish sets it. The payload is between
// them.
func begin(dst []byte, t Type, seq uint32) []byte { return AppendHeader(dst, t, seq, 0) }

// finish completes the frame that began at start.
//
//go:noinline
func finish(frame []byte, start int) []byte {
	length := uint32(len(frame) - start - 4)
	frame[start], frame[start+1], frame[start+2], frame[start+3] = byte(length>>24), byte(length>>16), byte(length>>8), byte(length)
	return frame
}
