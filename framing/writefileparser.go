package framing

import "bytes"

// MaxPath is the longest path the WriteFileParser keeps (PATH_MAX with its NUL); see PathLen.
const MaxPath = 4096

// WriteFileParser parses a write_file that comes in pieces, whatever their cuts: the same grammar as ParseWriteFile,
// and the same errors. It has room for a path of MaxPath bytes and holds none of the content. Reset comes first.
//
// Every error is found before the first byte of content is handed out, so that a bad payload has no effect.
type WriteFileParser struct {
	err     error
	left    int // bytes of the payload to come
	have    int // bytes of the field in hand taken
	pathLen int
	flags   byte
	field   fileField
	num     [writeFileTail]byte
	path    [MaxPath]byte // stays as it was over Reset: clearing it would cost more than all else
}

// fileField is a part of a write_file's payload.
type fileField uint8

const (
	_ fileField = iota // before Reset
	// filePathCount is the count before the path.
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

// Parse takes the next piece, of any length, and returns what of it is content: a subslice, empty while the head is
// incomplete. The first error (*PayloadError) is kept and returned by every later call.
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

// Head returns the head once it is complete. A path longer than MaxPath is cut there and PathLen is its true length.
// The path is the parser's own memory, good until Reset.
func (w *WriteFileParser) Head() (h WriteFile, ok bool) {
	if w.field != fileContent || w.err != nil {
		return WriteFile{}, false
	}
	path := w.path[:min(w.pathLen, MaxPath)]
	return WriteFile{
		Path: path, Sudo: w.flags&flagRoot != 0, Append: w.flags&flagAppend != 0, Size: int(u32(w.num[1:])),
	}, true
}

// PathLen is the length of the path in bytes, 0 until its count was read.
func (w *WriteFileParser) PathLen() int { return w.pathLen }

// Finish reports the payload's error, once all pieces were given. Pieces that are missing are an error too.
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

// step takes what piece has of the head's field in hand and returns how many bytes that is.
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

// advance goes on to the next field if the one in hand is complete.
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
		// An empty path has no byte to complete it.
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
