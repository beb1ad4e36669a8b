package guesttest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"wick/framing"
)

// testFrames sends every message over raw connections of both kinds.
func testFrames(t *testing.T, s *served) {
	for _, way := range []struct {
		name    string
		connect func(*testing.T) *raw
	}{
		{"host connects", func(t *testing.T) *raw { return dialRaw(t, s.UDS(), "1000") }},
		{"guest connects", func(t *testing.T) *raw {
			// The guest makes only one connection at a time, so the client's must be closed first.
			s.listen.Close()
			s.conn.Close()
			l := listenAt(t, s.UDS(), "1000")
			defer l.Close()
			return acceptRaw(t, l)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			r := way.connect(t)
			r.want(framing.TypeReady, 0, "")
			exchange(t, r)
			r.conn.Close()
		})
	}
	s.relisten(t)
}

// exchange sends every message, and every malformed one that keeps the connection. The last one
// ends it.
func exchange(t *testing.T, r *raw) {
	ask := func(kind framing.Type, seq uint32, payload string) {
		t.Helper()
		r.write(framing.AppendFrame(nil, kind, seq, []byte(payload)))
	}
	u32 := func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	exec := func(timeout int, command string) string { return u32(timeout) + u32(len(command)) + command }

	ask(framing.TypePing, 1, "")
	r.want(framing.TypePong, 1, "")
	ask(framing.TypePing, 0xFFFFFFFF, "whatever")
	r.want(framing.TypePong, 0xFFFFFFFF, "")

	// Send a byte at a time, then many frames in one write.
	for _, b := range framing.AppendFrame(nil, framing.TypePing, 2, nil) {
		r.write([]byte{b})
	}
	r.want(framing.TypePong, 2, "")
	var many []byte
	for seq := range uint32(1000) {
		many = framing.AppendFrame(many, framing.TypePing, seq, nil)
	}
	r.write(many)
	for seq := range uint32(1000) {
		r.want(framing.TypePong, seq, "")
	}

	ask(framing.TypeExec, 3, exec(0, "echo out; echo err >&2; exit 3"))
	r.want(framing.TypeExecResult, 3, output(3, "out\n", "err\n"))
	env := u32(1) + u32(3) + "KEY" + u32(5) + "v=\n a"
	command := `printf %s "$KEY"; id -u`
	ask(framing.TypeExec, 4, u32(0)+"\x01"+u32(len(command))+command+env)
	r.want(framing.TypeExecResult, 4, output(0, "v=\n a0\n", ""))
	ask(framing.TypeExec, 5, exec(300, "echo so far; sleep 100"))
	r.want(framing.TypeExecResult, 5, output(124, "so far\n", "Timeout"))
	ask(framing.TypeExec, 6, exec(0, "kill -9 $$"))
	r.want(framing.TypeExecResult, 6, output(128+9, "", ""))

	path := "/root/made/for/it"
	file := func(content string) string { return text(path) + "\x00" + u32(len(content)) + content }
	ask(framing.TypeWriteFile, 7, file("content"))
	r.want(framing.TypeWriteFileResult, 7, "\x01\x00\x00")
	// The request takes effect before the next frame is read.
	r.write(append(framing.AppendFrame(nil, framing.TypeWriteFile, 8, []byte(file("other"))),
		framing.AppendFrame(nil, framing.TypeExec, 9, []byte(exec(0, "cat "+path+"; rm -r /root/made")))...))
	r.want(framing.TypeWriteFileResult, 8, "\x01\x00\x00")
	r.want(framing.TypeExecResult, 9, output(0, "other", ""))
	ask(framing.TypeWriteFile, 10, text("/")+"\x00"+u32(0))
	if f := r.next(); f.kind != framing.TypeWriteFileResult || f.seq != 10 || len(f.payload) < 4 || f.payload[0] != 0 {
		t.Errorf("a directory is written to: %v", f)
	}

	ask(framing.TypeSpawnWatch, 11, exec(0, "echo watched; exit 7"))
	f := r.next()
	if f.kind != framing.TypeSpawnResult || f.seq != 11 || len(f.payload) != 4 {
		t.Fatalf("got %v, want spawn_watch_result", f)
	}
	r.want(framing.TypeProcessExit, 0, string(f.payload)+output(7, "watched\n", ""))

	ask(framing.TypeShutdown, 12, "ignored")
	r.want(framing.TypeShutdownAck, 12, "")
	ask(framing.TypePing, 13, "")
	r.want(framing.TypePong, 13, "")

	// An error costs an answer and nothing else.
	ask(0x42, 14, "")
	r.want(framing.TypeError, 14, text("unknown message type 0x42"))
	ask(framing.TypePong, 15, "")
	r.want(framing.TypeError, 15, text("unknown message type 0x02"))
	ask(framing.TypeError, 16, text("for the log"))
	for seq, bad := range map[framing.Type]string{
		framing.TypeExec: exec(0, "x")[:8], framing.TypeSpawnWatch: exec(0, "a\x00b"), framing.TypeWriteFile: text("/x") + "\x80" + u32(0),
	} {
		ask(seq, 17, bad)
		if f := r.next(); f.kind != framing.TypeError || f.seq != 17 {
			t.Errorf("%v with a bad payload: got %v, want an error", seq, f)
		}
	}
	ask(framing.TypePing, 18, "")
	r.want(framing.TypePong, 18, "")

	// An invalid length ends the connection, after the replies that are due.
	r.write(append(framing.AppendFrame(nil, framing.TypePing, 19, nil), bytes.Repeat([]byte{0xFF}, 4)...))
	r.want(framing.TypePong, 19, "")
	if f := r.next(); f.kind != framing.TypeError || f.seq != 0 {
		t.Errorf("got %v, want an error with seq 0", f)
	}
	r.wantEnd()
}
