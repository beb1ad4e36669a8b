package modeltest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of frames.
const (
	tReady byte = iota
	tPing
	tPong
	tExec
	tExecResult
	tWriteFile
	tWriteFileResult
	tSpawn
	tSpawnResult
	tExit
	tShutdown
	tShutdownAck
	tHello byte = 0x20
	tError byte = 0xff
)

const (
	headerSize = 9
	maxLength  = 16 << 20
)

func u16(b []byte, n int) []byte { return binary.BigEndian.AppendUint16(b, uint16(n)) }
func u32(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }

// frameOf makes a frame.
func frameOf(typ byte, seq uint32, payload []byte) []byte {
	b := u32(make([]byte, 0, headerSize+len(payload)), 5+len(payload))
	b = append(b, typ)
	b = binary.BigEndian.AppendUint32(b, seq)
	return append(b, payload...)
}

// short is a string with its count of 16 bits, long one with 32.
func short(b []byte, s string) []byte { return append(u16(b, len(s)), s...) }
func long(b []byte, s string) []byte  { return append(u32(b, len(s)), s...) }

// execPayload is that of an exec or spawn_watch; env is names and values in turn.
func execPayload(timeoutMS int, command string, longForm bool, env []string) []byte {
	b := u32(nil, timeoutMS)
	if longForm {
		b = append(b, 0)
	}
	b = long(b, command)
	if len(env) > 0 {
		b = u32(b, len(env)/2)
		for _, s := range env {
			b = long(b, s)
		}
	}
	return b
}

func filePayload(path string, content []byte) []byte {
	b := append(short(nil, path), 0)
	return append(u32(b, len(content)), content...)
}

// reading takes a payload apart, and is strict: it must be used up exactly.
type reading struct {
	rest []byte
	bad  bool
}

func (r *reading) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reading) number(size int) int {
	n := 0
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return n
}

func (r *reading) end() error {
	if r.bad || len(r.rest) > 0 {
		return errors.New("its payload does not add up")
	}
	return nil
}

// result is what a command came to.
type result struct {
	pid            int // of a process_exit
	code           int32
	stdout, stderr []byte
}

func parseResult(typ byte, payload []byte) (r result, err error) {
	in := reading{rest: payload}
	if typ == tExit {
		r.pid = in.number(4)
	}
	r.code = int32(in.number(4))
	r.stdout = in.take(in.number(4))
	r.stderr = in.take(in.number(4))
	return r, in.end()
}

func (r result) String() string {
	return fmt.Sprintf("code %d, stdout %s, stderr %s", r.code, brief(r.stdout), brief(r.stderr))
}

func parseText(payload []byte) (string, error) {
	in := reading{rest: payload}
	text := in.take(in.number(2))
	return string(text), in.end()
}

// brief is the part of a text that a message has room for.
func brief(b []byte) string {
	const keep = 80
	if len(b) <= 2*keep {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q…%q (%d bytes)", b[:keep], b[len(b)-keep:], len(b))
}
