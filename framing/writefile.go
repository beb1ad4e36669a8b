package framing

import "bytes"

// Sizes of a write_file's fixed fields, in bytes: the path's count, the flags and the content's count; and of those that
// follow the path.
const (
	writeFileFixed = 2 + writeFileTail
	writeFileTail  = 1 + 4
)

// flagAppend is the flag of a write_file that adds to the file; writeFileFlags are all that are known.
const (
	flagAppend     = 2
	writeFileFlags = flagRoot | flagAppend
)

// WriteFile is the head of a write_file: all but its content.
type WriteFile struct {
	// Path is at most MaxText bytes, none of them NUL. An empty one parses; writing to it is what fails.
	Path []byte
	// Sudo asks for the file to be written as root.
	Sudo bool
	// Append asks for the content to be added at the end of the file, which otherwise it replaces.
	Append bool
	// Size is the number of content bytes.
	Size int
}

// PayloadSize is the length of the payload in bytes, head and content, which must be at most MaxPayload to be sent.
func (w *WriteFile) PayloadSize() int { return writeFileFixed + len(w.Path) + w.Size }

// AppendWriteFileHead appends header and head; w.Size bytes of content follow. It panics if the path is longer than
// MaxText: a count that wrapped around would let the end of the path be read as content.
func AppendWriteFileHead(dst []byte, seq uint32, w *WriteFile) []byte {
	if len(w.Path) > MaxText {
		panic("framing: path longer than MaxText")
	}
	dst = AppendHeader(dst, TypeWriteFile, seq, w.PayloadSize())
	dst = appendU16(dst, uint16(len(w.Path)))
	dst = append(dst, w.Path...)
	var flags byte
	if w.Sudo {
		flags |= flagRoot
	}
	if w.Append {
		flags |= flagAppend
	}
	dst = append(dst, flags)
	return appendU32(dst, uint32(w.Size))
}

// ParseWriteFile parses a whole payload; w.Path and content alias it. After an error (*PayloadError) w is as it was.
func ParseWriteFile(payload []byte, w *WriteFile) (content []byte, err error) {
	if len(payload) < writeFileFixed {
		return nil, &PayloadError{TypeWriteFile, reasonShort}
	}
	n := int(u16(payload))
	if n > len(payload)-writeFileFixed {
		return nil, &PayloadError{TypeWriteFile, reasonCount}
	}
	path, tail := payload[2:2+n:2+n], payload[2+n:]
	flags, count, content := tail[0], u32(tail[1:]), tail[writeFileTail:]
	switch {
	case bytes.IndexByte(path, 0) >= 0:
		return nil, &PayloadError{TypeWriteFile, reasonPath}
	case flags&^writeFileFlags != 0:
		return nil, &PayloadError{TypeWriteFile, reasonFlag}
	case uint64(count) != uint64(len(content)):
		return nil, &PayloadError{TypeWriteFile, reasonCount}
	}
	*w = WriteFile{Path: path, Sudo: flags&flagRoot != 0, Append: flags&flagAppend != 0, Size: len(content)}
	return content, nil
}

// AppendWriteFileResult appends a write_file_result: an empty reason is success. It cuts a reason that is longer than
// MaxText bytes.
func AppendWriteFileResult(dst []byte, seq uint32, reason string) []byte {
	var success byte
	if reason == "" {
		success = 1
	}
	reason = reason[:min(len(reason), MaxText)]
	dst = AppendHeader(dst, TypeWriteFileResult, seq, 1+2+len(reason))
	dst = append(dst, success)
	dst = appendU16(dst, uint16(len(reason)))
	return append(dst, reason...)
}

// ParseWriteFileResult parses a whole payload; reason aliases it. Success is what ok says, never whether there is a
// reason: the wire allows a success with a text and a failure without one.
func ParseWriteFileResult(payload []byte) (reason []byte, ok bool, err error) {
	if len(payload) < 1+2 {
		return nil, false, &PayloadError{TypeWriteFileResult, reasonShort}
	}
	if payload[0] > 1 {
		return nil, false, &PayloadError{TypeWriteFileResult, reasonSuccess}
	}
	reason, err = parseText(TypeWriteFileResult, payload[1:])
	return reason, err == nil && payload[0] == 1, err
}
