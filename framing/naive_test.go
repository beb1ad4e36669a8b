package framing

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The package's tests hold it against this second reading of the protocol, which takes whole payloads, is slow, and
// shares no code with the first. It renders a message as the lines that the golden files have, and "" if it refuses it.

// naiveReader takes fields off the front of b; ok is false from the first that is not there.
type naiveReader struct {
	b  []byte
	ok bool
}

func (r *naiveReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.ok = false
		n = 0
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

// number reads an integer of the given size in bytes.
func (r *naiveReader) number(size int) uint64 {
	var wide [8]byte
	copy(wide[8-size:], r.bytes(uint64(size)))
	return binary.BigEndian.Uint64(wide[:])
}

// done reports whether all was there, and nothing more.
func (r *naiveReader) done() bool { return r.ok && len(r.b) == 0 }

// naiveMessage describes a message of the given type.
func naiveMessage(t Type, payload []byte) string {
	if extensionTypes[t] != nil {
		return naiveExtension(t, payload)
	}
	r := &naiveReader{b: payload, ok: true}
	s := ""
	line := func(format string, args ...any) { s += fmt.Sprintf(format, args...) + "\n" }
	switch t {
	case TypeExec, TypeSpawnWatch:
		if s, ok := naiveExec(t, payload, false); ok {
			return s
		}
		s, _ := naiveExec(t, payload, true)
		return s
	case TypeExecResult, TypeProcessExit:
		if t == TypeProcessExit {
			line("pid = %d", r.number(4))
		}
		line("exit_code = %d", int32(r.number(4)))
		line("stdout = %q", r.bytes(r.number(4)))
		line("stderr = %q", r.bytes(r.number(4)))
	case TypeWriteFile:
		path := r.bytes(r.number(2))
		flags := r.number(1)
		line("path = %q", path)
		line("sudo = %v", flags%2 == 1)
		if flags >= 2 {
			line("append = true")
		}
		line("content = %q", r.bytes(r.number(4)))
		if flags > 3 || bytes.Contains(path, []byte{0}) {
			return ""
		}
	case TypeWriteFileResult:
		success := r.number(1)
		line("success = %v", success == 1)
		line("error = %q", r.bytes(r.number(2)))
		if success > 1 {
			return ""
		}
	case TypeSpawnResult:
		line("pid = %d", r.number(4))
	case TypeStdoutChunk:
		line("pid = %d", r.number(4))
		line("data = %q", r.bytes(uint64(len(r.b))))
	case TypeError:
		line("message = %q", r.bytes(r.number(2)))
	default:
		if len(payload) > 0 {
			line("payload = %q", r.bytes(uint64(len(payload))))
		}
	}
	if !r.done() {
		return ""
	}
	return s
}

// naiveExec describes an exec in one of its forms, and reports whether that form fits the payload exactly.
func naiveExec(t Type, payload []byte, long bool) (s string, ok bool) {
	r := &naiveReader{b: payload, ok: true}
	good := true
	s = fmt.Sprintf("timeout_ms = %d\n", r.number(4))
	flags := uint64(0)
	if long {
		flags = r.number(1)
	}
	s += fmt.Sprintf("root = %v\n", flags%2 == 1)
	command := r.bytes(r.number(4))
	s += fmt.Sprintf("command = %q\n", command)
	good = good && (flags <= 1 || flags <= 3 && t == TypeSpawnWatch) && !bytes.Contains(command, []byte{0})
	if long && r.ok && len(r.b) > 0 {
		for n := r.number(4); n > 0 && r.ok; n-- {
			key := r.bytes(r.number(4))
			value := r.bytes(r.number(4))
			s += fmt.Sprintf("env = %q %q\n", key, value)
			good = good && len(key) > 0 && !bytes.ContainsAny(key, "\x00=") && !bytes.Contains(value, []byte{0})
		}
	}
	if flags >= 2 {
		s += "stream = true\n"
	}
	if t == TypeSpawnWatch && long && r.ok && len(r.b) > 0 {
		log := r.bytes(r.number(2))
		s += fmt.Sprintf("log = %q\n", log)
		good = good && len(log) > 0 && !bytes.Contains(log, []byte{0})
	}
	if !good || !r.done() {
		s = ""
	}
	return s, r.done()
}

// naiveFrame is a frame, as far as the stream goes.
type naiveFrame struct {
	Header
	Payload []byte
}

// naiveFrames cuts a whole stream up. The last frame's payload may be incomplete; a frame without a complete header is
// not there. bad is the length that ends the stream, or -1.
func naiveFrames(stream []byte) (frames []naiveFrame, bad int64) {
	for len(stream) >= 4 {
		length := int64(binary.BigEndian.Uint32(stream))
		if length < 5 || length > 16777216 {
			return frames, length
		}
		if len(stream) < 9 {
			break
		}
		end := min(int64(len(stream)), 4+length)
		frames = append(frames, naiveFrame{
			Header:  Header{Type(stream[4]), binary.BigEndian.Uint32(stream[5:]), int(length - 5)},
			Payload: stream[9:end],
		})
		stream = stream[end:]
	}
	return frames, -1
}
