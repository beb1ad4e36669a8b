package framing

// AppendSkip appends a skip: the next n bytes of a write's content are a hole.
func AppendSkip(dst []byte, seq uint32, n uint64) []byte {
	return appendU64(AppendHeader(dst, TypeSkip, seq, 8), n)
}

// ParseSkip parses a whole payload.
func ParseSkip(payload []byte) (n uint64, err error) {
	f := fields{b: payload}
	n = f.u64()
	return n, f.end(TypeSkip)
}

// ExtentSize is the size of an extent in the output of a read with FileMap, in bytes.
const ExtentSize = 8 + 8

// Extent is a part of a file that holds data. The rest of the file reads as zeros.
type Extent struct{ Offset, Length uint64 }

// AppendExtent appends an extent to the output of a read with FileMap.
func AppendExtent(dst []byte, e Extent) []byte {
	return appendU64(appendU64(dst, e.Offset), e.Length)
}

// CutExtent parses an extent at the beginning of that output.
func CutExtent(b []byte) (e Extent, rest []byte, err error) {
	f := fields{b: b}
	e = Extent{f.u64(), f.u64()}
	rest, f.b = f.b, nil
	return e, rest, f.end(TypeRead)
}

// AppendAttribute appends an extended attribute to a change, or to the output of a list with
// FileAttributes. It cuts a name to 255 bytes and a value to MaxText, more than Linux allows of
// either.
func AppendAttribute(dst, name, value []byte) []byte {
	return appendText16(appendText8(dst, name), value)
}

// CutAttribute parses an extended attribute at the beginning of b, which it aliases.
func CutAttribute(b []byte) (name, value, rest []byte, err error) {
	f := fields{b: b}
	name, value = f.word(f.text8(), reasonText), f.text16()
	if len(name) == 0 {
		f.fail(reasonText)
	}
	rest, f.b = f.b, nil
	return name, value, rest, f.end(TypeList)
}
