package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/vsock"

	"wick/framing"
	"wick/framing/client/clienttest"
)

// TestDialForms reaches a guest through every form that a Unix socket can stand for.
func TestDialForms(t *testing.T) {
	for form, start := range map[string]func(g *clienttest.Guest, path string) error{
		"unix:":               (*clienttest.Guest).Listen,
		"unix-listen:":        connect(""),
		"firecracker:":        func(g *clienttest.Guest, path string) error { return g.ListenFirecracker(path, "1000") },
		"firecracker-listen:": connect("_1000"),
	} {
		t.Run(strings.TrimSuffix(form, ":"), func(t *testing.T) {
			g := &clienttest.Guest{}
			path := filepath.Join(t.TempDir(), "s")
			if err := start(g, path); err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			c := (<-dialing(t, form+path)).must(t)
			if _, err := c.Ping(testContext(t)); err != nil {
				t.Error(err)
			}
			if strings.Contains(form, "listen") {
				left, err := os.ReadDir(filepath.Dir(path))
				if err != nil || len(left) > 0 {
					t.Errorf("Dial left %v behind, %v", left, err)
				}
			}
		})
	}
}

func connect(suffix string) func(*clienttest.Guest, string) error {
	return func(g *clienttest.Guest, path string) error {
		g.Connect(path + suffix)
		return nil
	}
}

func TestDialVsock(t *testing.T) {
	ln, err := vsock.ListenContextID(vsock.Local, 0, nil)
	if err != nil {
		t.Skipf("needs vsock loopback (modprobe vsock_loopback, and access to /dev/vsock): %v", err)
	}
	defer ln.Close()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		p := &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
		p.ready()
		seq, _ := p.expect(framing.TypePing)
		p.pong(seq)
		p.expectEnd()
	}()
	// Without a loopback transport the kernel may look for CID 1 on the host, and wait.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := Dial(ctx, "vsock:1:"+strings.TrimPrefix(ln.Addr().String(), "local(1):"))
	if err != nil {
		ln.Close()
		<-accepted
		t.Skipf("needs vsock loopback (modprobe vsock_loopback): %v", err)
	}
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	c.Close()
	<-accepted
}

func TestDialWaitsForTheGuest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := dialing(t, "unix:"+path)
	// There is nothing at first, then a socket without a listener, then connections cut before
	// ready, then a late ready.
	time.Sleep(3 * firstPause)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * firstPause)
	if err := syscall.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	ln, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	unix := ln.(*net.UnixListener)
	accept(t, unix).conn.Close()
	half := accept(t, unix)
	half.send(framing.AppendFrame(nil, framing.TypeReady, 0, nil)[:5])
	half.conn.Close()
	p := accept(t, unix)
	select {
	case o := <-c:
		t.Fatalf("Dial returned before ready: %v", o.err)
	case <-time.After(20 * time.Millisecond):
	}
	for _, b := range framing.AppendFrame(nil, framing.TypeReady, 0, nil) {
		p.send([]byte{b})
	}
	(<-c).must(t)
}

func TestDialWithoutRetry(t *testing.T) {
	_, err := Dial(testContext(t), "unix:"+filepath.Join(t.TempDir(), "s"), WithoutRetry())
	if !errors.Is(err, syscall.ENOENT) || !isType[*DialError](err) {
		t.Errorf("no socket: %v", err)
	}
}

func TestDialSaysWhyItFailedToTheEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	path := filepath.Join(t.TempDir(), "s")
	_, err := Dial(ctx, "unix:"+path)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestDialInterruptedBeforeReady(t *testing.T) {
	ln, path := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := background(func() (*Client, error) { return Dial(ctx, "unix:"+path) })
	p := accept(t, ln)
	cancel()
	if err := (<-c).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.expectEnd()
}

func TestDialToWhatIsNoSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(testContext(t), "unix:"+path); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("got %v", err)
	}
}

func TestBootError(t *testing.T) {
	// The message with its frame is longer than the read buffer.
	for _, message := range []string{"mount /dev/vdb: no such device", "", strings.Repeat("x", 65535)} {
		g := &clienttest.Guest{BootError: message}
		if message == "" {
			continue // the guest of clienttest sends ready instead
		}
		path := filepath.Join(t.TempDir(), "s")
		if err := g.Listen(path); err != nil {
			t.Fatal(err)
		}
		_, err := Dial(testContext(t), "unix:"+path)
		g.Close()
		if boot, ok := errors.AsType[*BootError](err); !ok || boot.Message != message {
			t.Errorf("got %v", err)
		}
	}
}

func TestWrongBeginnings(t *testing.T) {
	for name, beginning := range map[string][]byte{
		"pong":               framing.AppendFrame(nil, framing.TypePong, 0, nil),
		"ready with a seq":   framing.AppendFrame(nil, framing.TypeReady, 1, nil),
		"ready with payload": framing.AppendFrame(nil, framing.TypeReady, 0, []byte("x")),
		"error with a seq":   framing.AppendError(nil, 1, "x"),
		"bad error":          framing.AppendFrame(nil, framing.TypeError, 0, []byte("x")),
		"length 4":           {0, 0, 0, 4},
		"text":               []byte("SSH-2.0-OpenSSH_9.9\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			ln, path := listen(t)
			c := dialing(t, "unix:"+path)
			p := accept(t, ln)
			p.send(beginning)
			if err := (<-c).err; !isType[*ProtocolError](err) {
				t.Errorf("got %v", err)
			}
			p.expectEnd()
		})
	}
}

func TestFirecrackerHandshake(t *testing.T) {
	ln, path := listen(t)
	c := dialing(t, "firecracker:"+path+":52")
	// The socket is closed without an answer, or within one: the guest is not there yet.
	for _, reply := range []string{"", "OK 10"} {
		p := accept(t, ln)
		if line, err := p.in.ReadString('\n'); line != "CONNECT 52\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		p.send([]byte(reply))
		p.conn.Close()
	}
	// The answer, ready and more arrive in one piece.
	p := accept(t, ln)
	if _, err := p.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	b := []byte("OK 1073741824\n")
	b = framing.AppendFrame(b, framing.TypeReady, 0, nil)
	b = framing.AppendProcessExit(b, 10, &framing.ExecResult{ExitCode: 10}) // 10 is a newline
	p.send(b)
	client := (<-c).must(t)
	if e, err := client.WaitExit(testContext(t), 10); err != nil || e.ExitCode != 10 {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestFirecrackerRefuses(t *testing.T) {
	g := &clienttest.Guest{}
	defer g.Close()
	path := filepath.Join(t.TempDir(), "s")
	if err := g.ListenFirecracker(path, "1000"); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(testContext(t), "firecracker:"+path+":52", WithoutRetry())
	e, ok := errors.AsType[*HandshakeError](err)
	if !ok || !e.Refused() || e.Port != 52 || e.UDS != path || !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestNotFirecracker(t *testing.T) {
	for _, reply := range []string{"220 smtp\n", "OK\n", "OK \n", "OK 12x", "OK 12345678901\n", "\x00"} {
		ln, path := listen(t)
		c := dialing(t, "firecracker:"+path)
		p := accept(t, ln)
		p.send([]byte(reply))
		err := (<-c).err
		if e, ok := errors.AsType[*HandshakeError](err); !ok || e.Refused() || !strings.HasPrefix(reply, e.Reply) {
			t.Errorf("%q: got %v", reply, err)
		}
	}
}

func TestHandshakeInterrupted(t *testing.T) {
	ln, path := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := background(func() (*Client, error) { return Dial(ctx, "firecracker:"+path) })
	accept(t, ln)
	cancel()
	if err := (<-c).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestDialTellsTheBetterReason checks that Last is the error before an attempt that ran out of
// time.
func TestDialTellsTheBetterReason(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		for i := range 3 {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			switch i {
			case 0:
				conn.Close() // as if nothing listened in the guest
			case 1:
				defer conn.Close() // no answer at all
			case 2:
				cancel()
				defer conn.Close()
			}
		}
		<-ctx.Done()
	}()
	_, err = Dial(ctx, "firecracker:"+path)
	failed, ok := errors.AsType[*DialError](err)
	if !ok || !errors.Is(failed.Err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if refused, ok := errors.AsType[*HandshakeError](failed.Last); !ok || !refused.Refused() {
		t.Errorf("the last attempt is said to have failed by %v", failed.Last)
	}
}
