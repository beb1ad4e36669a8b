package framing

import "bytes"

// Sizes of a write_file's fixed fields in bytes: the path's count, the flags and the content's
// count; and of those after the path.
const (
	writeFileFixed = 2 + writeFileTail
	writeFileTail  = 1 + 4
)

// flagAppend is the flag of a write_file that appends to the file; writeFileFlags are all known
// flags.
const (
	flagAppend     = 2
	writeFileFlags = flagRoot | flagAppend
)

// WriteFile is the payload of a write_file without its content.
type WriteFile struct {
	// Path has at most MaxText bytes and no NUL. An empty path is parsed, but cannot be written to.
	Path []byte
	// Sudo writes the file as root.
	Sudo bool
	// Append appends the content to the file. Otherwise the content replaces it.
	Append bool
	// Size is the number of content bytes.
	Size int
}

// PayloadSize returns the length of the payload with its content in bytes. It must be at most
// MaxPayload to be sent.
func (w *WriteFile) PayloadSize() int { return writeFileFixed + len(w.Path) + w.Size }

// AppendWriteFileHead appends header and head; w.Size bytes of content follow. It panics if the
// path is longer than MaxText, because a wrapped count would make the end of the path content.
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

// ParseWriteFile parses a whole payload, which w.Path and content alias. After an error
// (*PayloadError) w is unchanged.
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

// AppendWriteFileResult appends a write_file_result. An empty reason means success. It cuts a
// reason longer than MaxText bytes.
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

// ParseWriteFileResult parses a whole payload, which reason aliases. Only ok says whether it is a
// success: the wire allows a success with a text and a failure without one.
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
