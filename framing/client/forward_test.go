package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// guestPair is a pipe through the agent: one end is of the client, by a dial or an accept, and the
// other a plain socket.
func guestPair(t testing.TB, c *Client, network, address string, reverse bool) (ours, plain net.Conn, stop func(), err error) {
	ctx := testContext(t)
	if network == "unix" {
		dir, err := os.MkdirTemp("", "forward-")
		if err != nil {
			return nil, nil, nil, err
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	var ln net.Listener
	if reverse {
		ln, err = c.Listen(ctx, network, address)
	} else {
		ln, err = net.Listen(network, address)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	defer ln.Close()
	accepted := background(ln.Accept)
	at := ln.Addr().String()
	var dialed net.Conn
	if reverse {
		dialed, err = net.Dial(network, at)
	} else {
		dialed, err = c.DialContext(ctx, network, at)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	other := <-accepted
	if other.err != nil {
		return nil, nil, nil, other.err
	}
	ours, plain = dialed, other.v
	if reverse {
		ours, plain = plain, ours
	}
	return ours, plain, func() { ours.Close(); plain.Close() }, nil
}

// TestForwardedConn holds forwarded connections to what the net package's own are held to.
func TestForwardedConn(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	for _, test := range []struct {
		name, network, address string
		reverse                bool
	}{
		{"dial tcp4", "tcp4", "127.0.0.1:0", false},
		{"dial unix", "unix", "", false},
		{"listen tcp4", "tcp4", "127.0.0.1:0", true},
		{"listen unix", "unix", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				return guestPair(t, c, test.network, test.address, test.reverse)
			})
		})
	}
}

// TestForwardHalfClose ends each direction by itself, at either end.
func TestForwardHalfClose(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	for _, network := range []string{"tcp4", "unix"} {
		for _, reverse := range []bool{false, true} {
			ours, plain, stop, err := guestPair(t, c, network, "127.0.0.1:0", reverse)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(ours, "question")
			ours.(*Conn).CloseWrite()
			if got, err := io.ReadAll(plain); string(got) != "question" || err != nil {
				t.Errorf("%s: the peer read %q, %v", network, got, err)
			}
			if _, err := ours.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s: write behind CloseWrite: %v", network, err)
			}
			io.WriteString(plain, "answer")
			plain.(interface{ CloseWrite() error }).CloseWrite()
			if got, err := io.ReadAll(ours); string(got) != "answer" || err != nil {
				t.Errorf("%s: read %q, %v", network, got, err)
			}
			stop()
		}
	}
}

// TestForwardReset has a reset seen as one, from either end, and when the host's connection is
// lost.
func TestForwardReset(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	c := a.dial()
	ours, plain, stop, err := guestPair(t, c, "tcp4", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	plain.(*net.TCPConn).SetLinger(0)
	plain.Close()
	if _, err := io.ReadAll(ours); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read of a connection that was reset: %v", err)
	}
	ours, plain, stop, err = guestPair(t, c, "tcp4", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ln, err := c.Listen(testContext(t), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waits, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	if _, err := ln.(*GuestListener).next(); err != nil { // it has arrived, and is not accepted
		t.Fatal(err)
	}
	c.Close()
	for name, conn := range map[string]net.Conn{"dialed": plain, "not accepted": waits} {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: read of a connection whose host is gone: %v", name, err)
		}
	}
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read on a closed client: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, ErrClosed) {
		t.Errorf("accept on a closed client: %v", err)
	}
	// Its port is free again.
	if _, err := a.dial().Listen(testContext(t), "tcp4", ln.Addr().String()); err != nil {
		t.Error(err)
	}
}

// descriptors counts the agent's open descriptors, when its connections are closed.
func (a *agentProcess) descriptors(t *testing.T, c *Client) string {
	t.Helper()
	r, err := c.Exec(testContext(t), Exec{Command: "ls /proc/$PPID/fd | wc -l"})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Stdout)
}

// TestForwardMany makes connections one after the other, and many at once, and nothing is left of
// them.
func TestForwardMany(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	c := a.dial()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}); conn.Close() }() // splice(2) would keep pipes
		}
	}()
	before := a.descriptors(t, c)
	echo := func(text string) error {
		conn, err := c.DialContext(context.Background(), "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		conn.(*Conn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err == nil && string(got) != text {
			err = fmt.Errorf("%q came back as %q", text, got)
		}
		return err
	}
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	for i := range rounds {
		if err := echo(fmt.Sprint(i)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if err := echo(strings.Repeat(fmt.Sprint(i), 10_000)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for i := 0; ; i++ {
		after := a.descriptors(t, c)
		if after == before {
			break
		}
		if i == 200 {
			t.Fatalf("%s descriptors before, %s after", before, after)
		}
	}
}

// random is n bytes that are hashed as they are read.
func random(n int64, sum hash.Hash) io.Reader {
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), n), sum)
}

// TestForwardBulk moves much both ways at once.
func TestForwardBulk(t *testing.T) {
	t.Parallel()
	n := int64(64 << 20)
	if os.Getenv("WICK_LONG") != "" {
		n = 1 << 30
	}
	c := agentClient(t)
	ours, plain, stop, err := guestPair(t, c, "tcp4", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var all sync.WaitGroup
	way := func(from, to net.Conn) {
		all.Go(func() {
			sent, got := sha256.New(), sha256.New()
			done := background(func() (int64, error) { return io.Copy(got, to) })
			if _, err := io.Copy(from, random(n, sent)); err != nil {
				t.Error(err)
			}
			from.(interface{ CloseWrite() error }).CloseWrite()
			if o := <-done; o.err != nil || o.v != n || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Errorf("%d of %d bytes came, or others: %v", o.v, n, o.err)
			}
		})
	}
	way(ours, plain)
	way(plain, ours)
	all.Wait()
}

// TestForwardUnread checks that a peer and a host that never read delay no other request.
func TestForwardUnread(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ours, plain, stop, err := guestPair(t, c, "tcp4", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{ours, plain} {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := conn.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes to a peer that does not read: %v", n, err)
		}
	}
	for range 20 {
		if took, err := c.Ping(testContext(t)); err != nil || took > 2*time.Second {
			t.Errorf("ping beside a peer that does not read: %v, %v", took, err)
		}
	}
	stop()
	if o, err := c.Exec(testContext(t), Exec{Command: "echo x"}); err != nil || string(o.Stdout) != "x\n" {
		t.Errorf("%v, %v", o, err)
	}
}

// TestForwardHTTP has net/http in both directions over forwarded connections.
func TestForwardHTTP(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) })
	in := httptest.NewServer(hello) // as if in the guest
	defer in.Close()
	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
	defer web.CloseIdleConnections()
	ln, err := c.Listen(testContext(t), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &http.Server{Handler: hello}
	go out.Serve(ln)
	defer out.Close()
	for name, test := range map[string]struct {
		web *http.Client
		url string
	}{"dial": {web, in.URL}, "listen": {http.DefaultClient, "http://" + ln.Addr().String()}} {
		r, err := test.web.Get(test.url + "/there")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if string(got) != "hello /there" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestPorts sees a port come and go.
func TestPorts(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	find := func(list []Port) *Port {
		for i := range list {
			if list[i].Addr == at {
				return &list[i]
			}
		}
		return nil
	}
	list, err := c.Ports(testContext(t))
	if errors.Is(err, syscall.ENOENT) {
		t.Skip("the kernel has no inet_diag; modprobe tcp_diag")
	}
	if p := find(list); err != nil || p == nil || p.PID != uint32(os.Getpid()) || p.Program == "" {
		t.Fatalf("%v: %+v, %v", at, list, err)
	}
	step := 0
	for list, err := range c.WatchPorts(testContext(t)) {
		switch p := find(list); {
		case err != nil:
			t.Fatal(err)
		case step == 0 && p != nil:
			ln.Close()
			step++
		case step == 1 && p == nil:
			return
		}
	}
}
