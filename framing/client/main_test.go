package client

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/client/clienttest"
	"wick/framing/wiretest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, removeAgent) }

// testContext ends a test that hangs long before go test does, at the call that hangs.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A peer is the guest's end of a connection, for tests that send each frame themselves.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// listen listens at a Unix socket of the test.
func listen(t testing.TB) (*net.UnixListener, string) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, path
}

// accept accepts one connection.
func accept(t testing.TB, ln *net.UnixListener) *peer {
	t.Helper()
	conn, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// pair returns a client and the guest's end of its connection, after ready.
func pair(t testing.TB, opts ...Option) (*Client, *peer) {
	t.Helper()
	ln, path := listen(t)
	c := dialing(t, "unix:"+path, opts...)
	p := accept(t, ln)
	p.ready()
	return (<-c).must(t), p
}

// outcome is the result of a call in the background.
type outcome[T any] struct {
	v   T
	err error
}

func (o outcome[T]) must(t testing.TB) T {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.v
}

// background runs f in a goroutine and sends its result.
func background[T any](f func() (T, error)) <-chan outcome[T] {
	c := make(chan outcome[T], 1)
	go func() {
		v, err := f()
		c <- outcome[T]{v, err}
	}()
	return c
}

// dialing dials in the background. The client is closed with the test.
func dialing(t testing.TB, addr string, opts ...Option) <-chan outcome[*Client] {
	ctx := testContext(t)
	return background(func() (*Client, error) {
		c, err := Dial(ctx, addr, opts...)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	})
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) ready() {
	p.t.Helper()
	p.send(framing.AppendFrame(nil, framing.TypeReady, 0, nil))
}

func (p *peer) pong(seq uint32) {
	p.t.Helper()
	p.send(framing.AppendFrame(nil, framing.TypePong, seq, nil))
}

// expect reads the next frame, which must be of type t.
func (p *peer) expect(t framing.Type) (seq uint32, payload []byte) {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	f, err := wiretest.ReadFrame(p.in)
	if err != nil {
		p.t.Fatalf("waiting for %v: %v", t, err)
	}
	if f.Type != byte(t) {
		p.t.Fatalf("got %v, want %v", f, t)
	}
	return f.Seq, f.Payload
}

// expectEnd reads to the end of the connection and returns how many bytes came before it.
func (p *peer) expectEnd() (n int) {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for buf := make([]byte, 64<<10); ; {
		k, err := p.in.Read(buf)
		n += k
		if err, ok := err.(net.Error); ok && err.Timeout() {
			p.t.Fatal("the connection is still open")
		}
		if err != nil {
			return n
		}
	}
}

// guest starts a guest that answers by itself.
func guest(t testing.TB) (*clienttest.Guest, string) {
	g := &clienttest.Guest{Dir: t.TempDir()}
	t.Cleanup(g.Close)
	path := filepath.Join(t.TempDir(), "s")
	if err := g.Listen(path); err != nil {
		t.Fatal(err)
	}
	return g, path
}

// dialed returns a client of a guest that answers by itself.
func dialed(t testing.TB, opts ...Option) (*Client, *clienttest.Guest) {
	t.Helper()
	g, path := guest(t)
	return (<-dialing(t, "unix:"+path, opts...)).must(t), g
}
