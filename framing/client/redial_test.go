package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"wick/framing/client/clienttest"
)

// TestRedial runs a process to its end over connections that are cut again and again.
func TestRedial(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	random := rand.New(rand.NewPCG(9, 9))
	var mu sync.Mutex
	addr := cut(t, a, func() (int64, int64) {
		mu.Lock()
		defer mu.Unlock()
		return 2000 + random.Int64N(600<<10), 2000 + random.Int64N(600<<10)
	})
	lost, connected, refused := 0, 0, false
	r, err := Redial(testContext(t), addr, RedialOptions{
		Lost: func(err error) { lost++ },
		Connected: func(ctx context.Context, c *Client) error {
			if connected++; connected == 2 && !refused {
				refused = true
				return errors.New("not this one")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := r.Client(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	const size = 3 << 20
	want, got := sha256.New(), sha256.New()
	io.Copy(want, io.LimitReader(&pattern{}, size))
	cmd := c.ShellCommand("cat")
	cmd.Keep = time.Minute
	cmd.Stdin, cmd.Stdout = io.LimitReader(&pattern{}, size), got
	if err := cmd.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	receipt, err := r.Wait(testContext(t), cmd)
	if err != nil || receipt.Stdout != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("Wait = %+v, %v, want all %d bytes", receipt, err, size)
	}
	if err := r.Close(); err != nil && !lostBy(err) {
		t.Error(err)
	}
	if lost < 3 || connected < lost || !refused {
		t.Errorf("lost %d connections, made %d", lost, connected)
	}
	if _, err := r.Client(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Client after Close: %v, want ErrClosed", err)
	}
}

// TestRedialListens keeps a listener, to which the guest connects again.
func TestRedialListens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	g := &clienttest.Guest{}
	defer g.Close()
	g.Connect(path)
	r, err := Redial(testContext(t), "unix-listen:"+path, RedialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 3 {
		c, err := r.Client(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ping(testContext(t)); err != nil {
			t.Fatal(err)
		}
		c.Close() // the guest connects again
	}
}

// TestRedialGivesUp ends with the error of the last attempt once the limit is over.
func TestRedialGivesUp(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	r, err := Redial(testContext(t), a.addr, RedialOptions{
		Limit:     50 * time.Millisecond,
		Connected: func(context.Context, *Client) error { return syscall.EHOSTDOWN },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := r.Client(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := r.Client(testContext(t)); !errors.Is(err, syscall.EHOSTDOWN) {
		t.Errorf("Client = %v, want EHOSTDOWN", err)
	}
}
