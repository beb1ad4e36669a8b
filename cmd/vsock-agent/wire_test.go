package main_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// The host's half of the wire, written by hand from the protocol and not with wick/framing: a mistake made there
// must not be made here too, or the two would agree and no test would see it.

var typeNumbers = map[string]byte{
	"ready":              0x00,
	"ping":               0x01,
	"pong":               0x02,
	"exec":               0x03,
	"exec_result":        0x04,
	"write_file":         0x05,
	"write_file_result":  0x06,
	"spawn_watch":        0x07,
	"spawn_watch_result": 0x08,
	"process_exit":       0x09,
	"shutdown":           0x0a,
	"shutdown_ack":       0x0b,
	"stdout_chunk":       0x0c,
	"error":              0xff,
}

// extensionMessage is a message of the extension: how a host's payload is made, and a guest's taken apart.
type extensionMessage struct {
	number byte
	fields string // that a host may name
	encode func(fieldSet) []byte
	decode func(*received, *payloadReader)
}

// extensionMessages are those of the extension, by part.
var extensionMessages = []map[string]extensionMessage{channelMessages, processMessages, fileMessages, machineMessages}

func init() {
	for _, part := range extensionMessages {
		for name, m := range part {
			typeNumbers[name] = m.number
		}
	}
}

func extensionNamed(name string) (m extensionMessage) {
	for _, part := range extensionMessages {
		if found, ok := part[name]; ok {
			m = found
		}
	}
	return m
}

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// fieldSet is the fields of one frame to send; what is not in it has the value that makes the frame a good one.
type fieldSet []field

func (fs fieldSet) get(name string) ([]byte, bool) {
	for _, f := range fs {
		if f.name == name {
			return f.value, true
		}
	}
	return nil, false
}

func (fs fieldSet) bytes(name string) []byte { b, _ := fs.get(name); return b }

func (fs fieldSet) number(name string, or int) int {
	b, ok := fs.get(name)
	if !ok {
		return or
	}
	n, err := strconv.ParseInt(string(b), 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is no number", name, b))
	}
	return int(n)
}

// encodeFrame makes the bytes of a frame. A case may lie: length=, n=, count= and pathlen= replace what would be true,
// payload= replaces the whole payload, tail= is added behind it.
func encodeFrame(name string, fs fieldSet) (frame []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	known := map[string]bool{"seq": true, "length": true, "payload": true, "tail": true}
	var payload []byte
	number, ok := typeNumbers[name]
	switch name {
	case "frame":
		known["type"] = true
		number, ok = byte(fs.number("type", 0)), true
	case "exec", "spawn_watch":
		for _, k := range []string{"timeout", "cmd", "n", "flags", "form", "count", "key", "value", "log"} {
			known[k] = true
		}
		cmd := fs.bytes("cmd")
		payload = append(payload, u32(fs.number("timeout", 0))...)
		_, flags := fs.get("flags")
		_, count := fs.get("count")
		_, key := fs.get("key")
		log, logged := fs.get("log")
		long := string(fs.bytes("form")) == "long" || flags || count || key || logged
		if long {
			payload = append(payload, byte(fs.number("flags", 0)))
		}
		payload = append(payload, u32(fs.number("n", len(cmd)))...)
		payload = append(payload, cmd...)
		if count || key || logged {
			var env []byte
			entries := 0
			for _, f := range fs {
				if f.name == "key" || f.name == "value" {
					env = append(append(env, u32(len(f.value))...), f.value...)
					entries++
				}
			}
			payload = append(payload, u32(fs.number("count", entries/2))...)
			payload = append(payload, env...)
		}
		if logged {
			payload = append(append(payload, u16(len(log))...), log...)
		}
	case "write_file":
		for _, k := range []string{"path", "pathlen", "flags", "n", "content"} {
			known[k] = true
		}
		path, content := fs.bytes("path"), fs.bytes("content")
		payload = append(payload, u16(fs.number("pathlen", len(path)))...)
		payload = append(payload, path...)
		payload = append(payload, byte(fs.number("flags", 0)))
		payload = append(payload, u32(fs.number("n", len(content)))...)
		payload = append(payload, content...)
	case "error":
		known["message"] = true
		payload = append(u16(len(fs.bytes("message"))), fs.bytes("message")...)
	default:
		if m := extensionNamed(name); m.encode != nil {
			for _, k := range strings.Fields(m.fields) {
				known[k] = true
			}
			payload = m.encode(fs)
		}
	}
	if !ok {
		return nil, fmt.Errorf("no frame is called %q", name)
	}
	for _, f := range fs {
		if !known[f.name] {
			return nil, fmt.Errorf("%s has no field %q", name, f.name)
		}
	}
	if p, ok := fs.get("payload"); ok {
		payload = p
	}
	payload = append(payload, fs.bytes("tail")...)
	frame = append(frame, u32(fs.number("length", 5+len(payload)))...)
	frame = append(frame, number)
	frame = append(frame, u32(fs.number("seq", 0))...)
	return append(frame, payload...), nil
}

// A received frame: its name, and its fields as text.
type received struct {
	name   string
	order  []string
	fields map[string][]byte
	size   int // of the whole frame, length field and all
}

func (r *received) put(name string, value []byte) {
	r.order = append(r.order, name)
	r.fields[name] = value
}

func (r *received) String() string {
	var b strings.Builder
	b.WriteString(r.name)
	for _, name := range r.order {
		v := r.fields[name]
		switch name {
		case "stdout", "stderr", "message", "error", "payload", "data", "reason", "name", "target", "entries":
			fmt.Fprintf(&b, " %s=%s", name, quoted(v))
		default:
			fmt.Fprintf(&b, " %s=%s", name, v)
		}
	}
	return b.String()
}

// quoted shortens what no reader would count.
func quoted(b []byte) string {
	const keep = 160
	if len(b) <= 3*keep {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q … %q (%d bytes)", b[:keep], b[len(b)-keep:], len(b))
}

// payloadReader takes fields off the front of a payload.
type payloadReader struct {
	rest  []byte
	short bool
}

func (p *payloadReader) take(n int) []byte {
	if n > len(p.rest) {
		p.short = true
		n = len(p.rest)
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *payloadReader) number(size int) uint64 {
	var n uint64
	for _, c := range p.take(size) {
		n = n<<8 | uint64(c)
	}
	return n
}

// decimal is a number of so many bytes as text.
func (p *payloadReader) decimal(size int) []byte { return strconv.AppendUint(nil, p.number(size), 10) }

// decodeFrame takes a frame from the agent apart. It is strict: every payload must be used up, exactly.
func decodeFrame(head []byte, payload []byte) (*received, error) {
	r := &received{fields: map[string][]byte{}, size: len(head) + len(payload)}
	for name, number := range typeNumbers {
		if number == head[4] {
			r.name = name
		}
	}
	r.put("seq", strconv.AppendUint(nil, uint64(binary.BigEndian.Uint32(head[5:])), 10))
	p := &payloadReader{rest: payload}
	take, number := p.take, p.number
	text := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	switch r.name {
	case "ready", "pong", "shutdown_ack":
	case "exec_result", "process_exit":
		if r.name == "process_exit" {
			r.put("pid", text(int64(number(4))))
		}
		r.put("code", text(int64(int32(number(4)))))
		r.put("stdout", take(int(number(4))))
		r.put("stderr", take(int(number(4))))
	case "write_file_result":
		r.put("success", text(int64(number(1))))
		r.put("error", take(int(number(2))))
	case "spawn_watch_result":
		r.put("pid", text(int64(number(4))))
	case "stdout_chunk":
		r.put("pid", text(int64(number(4))))
		r.put("data", take(len(p.rest)))
	case "error":
		r.put("message", take(int(number(2))))
	default:
		if m := extensionNamed(r.name); m.decode != nil {
			m.decode(r, p)
			break
		}
		return nil, fmt.Errorf("the agent sent a frame of type 0x%02X (%s), which no guest sends: payload %s", head[4], r.name, quoted(payload))
	}
	if p.short || len(p.rest) > 0 {
		return nil, fmt.Errorf("the agent sent a bad %s: payload %s: short %v, %d bytes too many", r.name, quoted(payload), p.short, len(p.rest))
	}
	return r, nil
}
