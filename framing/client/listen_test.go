package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/client/clienttest"
)

func listener(t *testing.T, opts ...Option) (*Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen("unix-listen:"+path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

// knock connects to a listener as a guest would.
func knock(t *testing.T, path string) *peer {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn}
}

// TestGuestComesBack has a guest whose connection is cut again and again, as by the restore of a
// snapshot.
func TestGuestComesBack(t *testing.T) {
	l, path := listener(t)
	g := &clienttest.Guest{}
	g.Connect(path)
	defer g.Close()
	for range 5 {
		c, err := l.Accept(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ping(testContext(t)); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	l.Close()
}

// TestExitsOfAnEarlierConnection checks that exits are reported after ready on the next connection.
func TestExitsOfAnEarlierConnection(t *testing.T) {
	var seen []uint32
	l, path := listener(t, WithOnExit(func(e *Exit) bool { seen = append(seen, e.PID); return false }))
	p := knock(t, path)
	b := framing.AppendFrame(nil, framing.TypeReady, 0, nil)
	b = framing.AppendProcessExit(b, 7, &framing.ExecResult{ExitCode: 1})
	b = framing.AppendProcessExit(b, 8, &framing.ExecResult{ExitCode: 2})
	p.send(b)
	c, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for pid, code := range map[uint32]int{8: 2, 7: 1} {
		if e, err := c.WaitExit(testContext(t), pid); err != nil || e.ExitCode != code {
			t.Errorf("pid %d: %v, %v", pid, e, err)
		}
	}
	if len(seen) != 2 || seen[0] != 7 || seen[1] != 8 {
		t.Errorf("the hook saw %v", seen)
	}
}

func TestAcceptPassesOverDeadConnections(t *testing.T) {
	l, path := listener(t)
	l.readyLimit = 20 * time.Millisecond
	knock(t, path).conn.Close()
	mute := knock(t, path)
	knock(t, path).ready()
	c, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	mute.in = nil
	if _, err := mute.conn.Read(make([]byte, 1)); err == nil {
		t.Error("the mute connection is still open")
	}
}

func TestAcceptAfterAnError(t *testing.T) {
	l, path := listener(t)
	knock(t, path).send(framing.AppendError(nil, 0, "no root"))
	if _, err := l.Accept(testContext(t)); !isType[*BootError](err) {
		t.Errorf("got %v", err)
	}
	knock(t, path).send([]byte("GET / HTTP/1.1\r\n"))
	if _, err := l.Accept(testContext(t)); !isType[*ProtocolError](err) {
		t.Errorf("got %v", err)
	}
	knock(t, path).ready()
	c, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestAcceptIsInterrupted(t *testing.T) {
	l, path := listener(t)
	ctx, cancel := context.WithCancel(context.Background())
	a := background(func() (*Client, error) { return l.Accept(ctx) })
	b := background(func() (*Client, error) { return l.Accept(ctx) })
	cancel()
	for _, c := range []<-chan outcome[*Client]{a, b} {
		if err := (<-c).err; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	// The interruption does not persist.
	knock(t, path).ready()
	c, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestCloseEndsAccept(t *testing.T) {
	l, path := listener(t)
	waiting := background(func() (*Client, error) { return l.Accept(context.Background()) })
	mute := knock(t, path) // Accept waits for its ready now, or will
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := (<-waiting).err; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	mute.conn.Close()
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if _, err := l.Accept(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestListenerLeavesOthersSocketsAlone(t *testing.T) {
	l, path := listener(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := Listen("unix-listen:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	ln, path := listen(t)
	ln.SetUnlinkOnClose(false)
	ln.Close()
	l, err := Listen("unix-listen:" + path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestListenReplacesALiveSocket takes the path of an agent that listens there.
func TestListenReplacesALiveSocket(t *testing.T) {
	_, path := listener(t)
	l, err := Listen("unix-listen:"+path, WithReplace())
	if err != nil {
		t.Fatal(err)
	}
	knock(t, path).ready()
	c, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestListenWhereSomethingIs(t *testing.T) {
	_, path := listen(t)
	if _, err := Listen("unix-listen:" + path); err == nil || !strings.Contains(err.Error(), "unix:"+path) {
		t.Errorf("Listen at a live socket: %v; want the address to connect to", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, opts := range [][]Option{nil, {WithReplace()}} {
		if _, err := Listen("unix-listen:"+file, opts...); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("a file is there: %v", err)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "keep" {
		t.Error("the file is gone")
	}
	if _, err := Listen("unix-listen:" + filepath.Join(file, "x")); !isType[*DialError](err) {
		t.Errorf("no directory: %v", err)
	}
}
