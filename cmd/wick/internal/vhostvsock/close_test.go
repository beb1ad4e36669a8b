package vhostvsock

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestFrontendVanishes(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, _ := m.hostConnects()
	m.conn.Close()
	if err := <-m.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	wantEOF(t, c)

	// The next front-end finds the device as new.
	go func() { m.served <- m.device.Serve(context.Background()) }()
	next, err := net.Dial("unix", filepath.Join(m.dir, "vhost"))
	if err != nil {
		t.Fatal(err)
	}
	m.conn = next.(*net.UnixConn)
	clear(m.mem)
	m.rx.avail, m.rx.used, m.tx.avail, m.tx.used = 0, 0, 0, 0
	m.start(0, 0)
	m.postAll()
	m.hostConnects()
}

func TestClose(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, _ := m.hostConnects()
	if err := m.device.Close(); err != nil {
		t.Error(err)
	}
	if err := <-m.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	wantEOF(t, c)
	if left, err := os.ReadDir(m.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := m.device.Serve(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
	m.device.ResetConnections()
}

func TestServeEndsWithContext(t *testing.T) {
	t.Parallel()
	d, _ := newDevice(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx) }()
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	if err := d.Serve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve again: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(dir, "free")
	long := filepath.Join(dir, string(bytes.Repeat([]byte("x"), 100)))
	for name, cfg := range map[string]Config{
		"host's CID":         {VhostSocket: free, UDS: free + "2", GuestCID: 2},
		"CID too big":        {VhostSocket: free, UDS: free + "2", GuestCID: 1 << 32},
		"no vhost socket":    {UDS: free, GuestCID: 3},
		"no vsock socket":    {VhostSocket: free, GuestCID: 3},
		"long vhost socket":  {VhostSocket: long, UDS: free, GuestCID: 3},
		"long vsock socket":  {VhostSocket: free, UDS: long, GuestCID: 3},
		"vhost socket taken": {VhostSocket: taken, UDS: free, GuestCID: 3},
		"vsock socket taken": {VhostSocket: free, UDS: taken, GuestCID: 3},
	} {
		if d, err := New(cfg); err == nil {
			d.Close()
			t.Errorf("%s: no error", name)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestCloseLeavesOthersAlone checks that Close does not remove a file that replaced a socket.
func TestCloseLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	d, dir := newDevice(t)
	path := filepath.Join(dir, "v")
	os.Remove(path)
	os.WriteFile(path, []byte("mine"), 0o600)
	d.Close()
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestResetConnections(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	m.device.ResetConnections()
	wantEOF(t, c)
	p.want(opReset)
	m.hostConnects()
}

func TestResetConnectionsByEvent(t *testing.T) {
	t.Parallel()
	m := newMachine(t, true)
	c, p := m.hostConnects()
	idle := m.dialHost("")
	m.device.ResetConnections() // no buffer for the event yet
	wantEOF(t, c)
	wantEOF(t, idle)
	m.event.setDesc(0, desc{addr: regionSize, len: 4, flags: descWrite})
	m.mem[regionSize] = 0xff
	m.event.offer(0)
	if _, n, err := m.event.take(soon); err != nil || n != 4 || m.mem[regionSize] != eventTransportReset {
		t.Fatalf("event of %d bytes, %v", n, err)
	}
	m.quiet() // no RST with it
	p.send(opData, 0, []byte("x"))
	p.want(opReset)
	m.hostConnects()
}
