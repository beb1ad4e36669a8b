package framing

import "bytes"

// MaxPath is the longest path that WriteFileParser keeps (PATH_MAX, with its NUL); see PathLen.
const MaxPath = 4096

// WriteFileParser parses a write_file in pieces of any length. It has the same grammar as
// ParseWriteFile, and the same errors. It has room for a path of MaxPath bytes and holds no
// content. Call Reset first.
//
// Every error is found before the first byte of content is returned, so that a bad payload has no
// effect.
type WriteFileParser struct {
	err     error
	left    int // bytes of the payload to come
	have    int // bytes read of the current field
	pathLen int
	flags   byte
	field   fileField
	num     [writeFileTail]byte
	path    [MaxPath]byte // not cleared by Reset, which would be most of its cost
}

// fileField is a part of a write_file's payload.
type fileField uint8

const (
	_ fileField = iota // before Reset
	// filePathCount is the count of the path.
	filePathCount
	filePath
	// fileTail is the flags and the content's count.
	fileTail
	fileContent
)

// Reset begins a payload of size bytes.
func (w *WriteFileParser) Reset(size int) {
	w.err = nil
	w.left = size
	w.have = 0
	w.pathLen = 0
	w.flags = 0
	w.field = filePathCount
	if size < writeFileFixed {
		w.fail(reasonShort)
	}
}

// Parse parses the next piece, of any length, and returns the content in it: a subslice, empty
// until the head is complete. It keeps the first error (*PayloadError) and returns it from then on.
func (w *WriteFileParser) Parse(piece []byte) (content []byte, err error) {
	if len(piece) > w.left {
		w.fail(reasonCount)
	}
	for len(piece) > 0 && w.field != fileContent && w.err == nil {
		piece = piece[w.step(piece):]
	}
	if w.err != nil {
		return nil, w.err
	}
	w.left -= len(piece)
	return piece, nil
}

// Head returns the head once it is complete. A path longer than MaxPath is cut, and PathLen is its
// true length. The path is the parser's memory, valid until Reset.
func (w *WriteFileParser) Head() (h WriteFile, ok bool) {
	if w.field != fileContent || w.err != nil {
		return WriteFile{}, false
	}
	path := w.path[:min(w.pathLen, MaxPath)]
	return WriteFile{
		Path: path, Sudo: w.flags&flagRoot != 0, Append: w.flags&flagAppend != 0, Size: int(u32(w.num[1:])),
	}, true
}

// PathLen returns the length of the path in bytes, 0 until its count was read.
func (w *WriteFileParser) PathLen() int { return w.pathLen }

// Finish returns the payload's error after the last piece. Missing pieces are an error too.
func (w *WriteFileParser) Finish() error {
	if w.field != fileContent || w.left > 0 {
		w.fail(reasonShort)
	}
	return w.err
}

// fail keeps the first error.
func (w *WriteFileParser) fail(reason string) {
	if w.err == nil {
		w.err = &PayloadError{TypeWriteFile, reason}
	}
}

// step reads the current field of the head from piece and returns the number of bytes read.
func (w *WriteFileParser) step(piece []byte) int {
	var n int
	switch w.field {
	case filePathCount:
		n = copy(w.num[w.have:2], piece)
	case filePath:
		n = min(w.pathLen-w.have, len(piece))
		if w.have < MaxPath {
			copy(w.path[w.have:], piece[:n])
		}
		if bytes.IndexByte(piece[:n], 0) >= 0 {
			w.fail(reasonPath)
		}
	case fileTail:
		n = copy(w.num[w.have:], piece)
	}
	w.have += n
	w.left -= n
	w.advance()
	return n
}

// advance begins the next field if the current one is complete.
func (w *WriteFileParser) advance() {
	switch w.field {
	case filePathCount:
		if w.have < 2 {
			return
		}
		w.pathLen = int(u16(w.num[:]))
		if w.pathLen > w.left-writeFileTail {
			w.fail(reasonCount)
		}
		w.field, w.have = filePath, 0
		// An empty path is complete at once.
		w.advance()
	case filePath:
		if w.have == w.pathLen {
			w.field, w.have = fileTail, 0
		}
	case fileTail:
		if w.have < writeFileTail {
			return
		}
		switch {
		case w.num[0]&^writeFileFlags != 0:
			w.fail(reasonFlag)
		case uint64(u32(w.num[1:])) != uint64(w.left):
			w.fail(reasonCount)
		}
		w.flags = w.num[0]
		w.field = fileContent
	}
}
