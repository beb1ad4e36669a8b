package guesttest

import (
	"bytes"
	"testing"

	"wick/framing/wiretest"
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
			r.want(wiretest.Ready, 0, "")
			exchange(t, r)
			r.conn.Close()
		})
	}
	s.relisten(t)
}

// exchange sends every message, and every malformed one that keeps the connection. The last one
// ends it.
func exchange(t *testing.T, r *raw) {
	r.ask(wiretest.Ping, 1, "")
	r.want(wiretest.Pong, 1, "")
	r.ask(wiretest.Ping, 0xFFFFFFFF, "whatever")
	r.want(wiretest.Pong, 0xFFFFFFFF, "")

	// Send a byte at a time, then many frames in one write.
	for _, b := range wiretest.Raw(wiretest.Ping, 2, nil) {
		r.write([]byte{b})
	}
	r.want(wiretest.Pong, 2, "")
	var many []byte
	for seq := range uint32(1000) {
		many = append(many, wiretest.Raw(wiretest.Ping, seq, nil)...)
	}
	r.write(many)
	for seq := range uint32(1000) {
		r.want(wiretest.Pong, seq, "")
	}

	r.ask(wiretest.Exec, 3, 0, "echo out; echo err >&2; exit 3")
	r.want(wiretest.ExecResult, 3, output(3, "out\n", "err\n"))
	r.ask(wiretest.Exec, 4, 0, 1, `printf %s "$KEY"; id -u`, []string{"KEY", "v=\n a"})
	r.want(wiretest.ExecResult, 4, output(0, "v=\n a0\n", ""))
	r.ask(wiretest.Exec, 5, 300, "echo so far; sleep 100")
	r.want(wiretest.ExecResult, 5, output(124, "so far\n", "Timeout"))
	r.ask(wiretest.Exec, 6, 0, "kill -9 $$")
	r.want(wiretest.ExecResult, 6, output(128+9, "", ""))

	path := "/root/made/for/it"
	r.ask(wiretest.WriteFile, 7, path, 0, "content")
	r.want(wiretest.WriteFileResult, 7, "\x01\x00\x00")
	// The request takes effect before the next frame is read.
	r.write(append(wiretest.Make(wiretest.WriteFile, 8, path, 0, "other"),
		wiretest.Make(wiretest.Exec, 9, 0, "cat "+path+"; rm -r /root/made")...))
	r.want(wiretest.WriteFileResult, 8, "\x01\x00\x00")
	r.want(wiretest.ExecResult, 9, output(0, "other", ""))
	r.ask(wiretest.WriteFile, 10, "/", 0, "")
	if f := r.next(); f.Type != wiretest.WriteFileResult || f.Seq != 10 || len(f.Payload) < 4 || f.Payload[0] != 0 {
		t.Errorf("a directory is written to: %v", f)
	}

	r.ask(wiretest.SpawnWatch, 11, 0, "echo watched; exit 7")
	f := r.next()
	if f.Type != wiretest.SpawnWatchResult || f.Seq != 11 || len(f.Payload) != 4 {
		t.Fatalf("got %v, want spawn_watch_result", f)
	}
	r.want(wiretest.ProcessExit, 0, string(f.Payload)+output(7, "watched\n", ""))

	r.ask(wiretest.Shutdown, 12, "ignored")
	r.want(wiretest.ShutdownAck, 12, "")
	r.ask(wiretest.Ping, 13, "")
	r.want(wiretest.Pong, 13, "")

	// An error costs an answer and nothing else.
	r.write(wiretest.Raw(0x42, 14, nil))
	r.want(wiretest.Error, 14, text("unknown message type 0x42"))
	r.ask(wiretest.Pong, 15, "")
	r.want(wiretest.Error, 15, text("unknown message type 0x02"))
	r.ask(wiretest.Error, 16, "for the log")
	for seq, bad := range map[byte]string{
		wiretest.Exec:       string(wiretest.Payload(wiretest.Exec, 0, "x")[:8]),
		wiretest.SpawnWatch: string(wiretest.Payload(wiretest.SpawnWatch, 0, "a\x00b")),
		wiretest.WriteFile:  string(wiretest.Payload(wiretest.WriteFile, "/x", 0x80, "")),
	} {
		r.write(wiretest.Raw(seq, 17, []byte(bad)))
		if f := r.next(); f.Type != wiretest.Error || f.Seq != 17 {
			t.Errorf("%v with a bad payload: got %v, want an error", seq, f)
		}
	}
	r.ask(wiretest.Ping, 18, "")
	r.want(wiretest.Pong, 18, "")

	// An invalid length ends the connection, after the replies that are due.
	r.write(append(wiretest.Raw(wiretest.Ping, 19, nil), bytes.Repeat([]byte{0xFF}, 4)...))
	r.want(wiretest.Pong, 19, "")
	if f := r.next(); f.Type != wiretest.Error || f.Seq != 0 {
		t.Errorf("got %v, want an error with seq 0", f)
	}
	r.wantEnd()
}
