package guesttest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wick/framing"
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

// frame is a frame as it arrived.
type frame struct {
	kind    framing.Type
	seq     uint32
	payload []byte
}

// String returns the type, and the payload of a short frame.
func (f frame) String() string {
	if len(f.payload) > 200 {
		return fmt.Sprintf("%v seq %d (%d bytes)", f.kind, f.seq, len(f.payload))
	}
	return fmt.Sprintf("%v seq %d %q", f.kind, f.seq, f.payload)
}

// read reads a frame. It uses only the constants of package framing, so that it does not repeat a
// mistake made there.
func (r *raw) read() (frame, error) {
	var head [framing.HeaderSize]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{framing.Type(head[4]), binary.BigEndian.Uint32(head[5:]), nil}
	length := binary.BigEndian.Uint32(head[:])
	if length < framing.MinLength || length > framing.MaxLength {
		return f, fmt.Errorf("a frame's length is %d", length)
	}
	f.payload = make([]byte, length-framing.MinLength)
	_, err := io.ReadFull(r.in, f.payload)
	return f, err
}

// want reads a frame, which must be equal to the given one.
func (r *raw) want(kind framing.Type, seq uint32, payload string) {
	r.t.Helper()
	f := r.next()
	if want := (frame{kind, seq, []byte(payload)}); f.String() != want.String() || string(f.payload) != payload {
		r.t.Fatalf("got %v, want %v", f, want)
	}
}

func (r *raw) next() frame {
	r.t.Helper()
	f, err := r.read()
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// wantEnd checks that the guest has closed the connection.
func (r *raw) wantEnd() {
	r.t.Helper()
	if f, err := r.read(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		r.t.Fatalf("got %v, %v, want the connection's end", f, err)
	}
}

// text returns the form of a text in an error, with a length of 16 bits.
func text(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

// output returns the form of exit code, stdout and stderr in a result.
func output(code int32, stdout, stderr string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(code))
	for _, s := range []string{stdout, stderr} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return string(b)
}
