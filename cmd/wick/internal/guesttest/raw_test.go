package guesttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wick/framing/wiretest"
)

// raw is a connection on which a test writes and reads bytes directly.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// dialRaw connects to the guest through a socket with Firecracker's conventions, and reads the
// answer to CONNECT.
func dialRaw(t *testing.T, uds, port string) *raw {
	t.Helper()
	conn, err := net.Dial("unix", uds)
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, conn)
	r.write([]byte("CONNECT " + port + "\n"))
	line, err := r.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "OK ") {
		t.Fatalf("CONNECT %s is answered by %q, %v", port, line, err)
	}
	return r
}

// acceptRaw accepts a connection of the guest.
func acceptRaw(t *testing.T, l *net.UnixListener) *raw {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, conn)
}

func newRaw(t *testing.T, conn net.Conn) *raw {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * stepLimit))
	return &raw{t, conn, bufio.NewReader(conn)}
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// want reads a frame, which must be equal to the given one.
func (r *raw) want(kind byte, seq uint32, payload string) {
	r.t.Helper()
	want := wiretest.Frame{Type: kind, Seq: seq, Payload: []byte(payload)}
	if f := r.next(); f.Type != kind || f.Seq != seq || string(f.Payload) != payload {
		r.t.Fatalf("got %v, want %v", f, want)
	}
}

// parse reads a frame of that type and seq, and takes it apart.
func (r *raw) parse(kind byte, seq uint32) wiretest.Fields {
	r.t.Helper()
	f := r.next()
	fields, err := wiretest.Parse(f.Type, f.Payload)
	if f.Type != kind || f.Seq != seq || err != nil {
		r.t.Fatalf("got %v (%v), want %s seq %d", f, err, wiretest.ByType(kind).Name, seq)
	}
	return fields
}

func (r *raw) next() wiretest.Frame {
	r.t.Helper()
	f, err := wiretest.ReadFrame(r.in)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// wantEnd checks that the guest has closed the connection.
func (r *raw) wantEnd() {
	r.t.Helper()
	if f, err := wiretest.ReadFrame(r.in); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		r.t.Fatalf("got %v, %v, want the connection's end", f, err)
	}
}

// text returns the form of a text in an error, with a length of 16 bits.
func text(s string) string { return string(wiretest.Payload(wiretest.Error, s)) }

// output returns the form of exit code, stdout and stderr in a result.
func output(code int32, stdout, stderr string) string {
	return string(wiretest.Payload(wiretest.ExecResult, code, stdout, stderr))
}
