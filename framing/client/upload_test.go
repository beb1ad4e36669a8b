package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestWriteStream(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "a/b/file")
	for _, size := range []int64{0, 1, inputFrameMax, inputFrameMax + 1, 20 << 20} {
		sum := sha256.New()
		r := io.TeeReader(io.LimitReader(&pattern{}, size), sum)
		n, err := c.WriteStream(testContext(t), name, r, WriteOptions{Parents: true, Mode: 0o751, Sync: true})
		if err != nil || n != size {
			t.Fatalf("%d bytes: %d, %v", size, n, err)
		}
		got, err := os.ReadFile(name)
		if have := sha256.Sum256(got); err != nil || !bytes.Equal(have[:], sum.Sum(nil)) {
			t.Errorf("%d bytes: the file has %d, %v", size, len(got), err)
		}
		if i, err := os.Stat(name); err != nil || i.Mode() != 0o751 {
			t.Errorf("mode %v, %v", i.Mode(), err)
		}
	}
}

// pattern is content that does not repeat soon.
type pattern struct{ n uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*1664525 + 1013904223
		b[i] = byte(p.n >> 24)
	}
	return len(b), nil
}

func TestWriteInPlace(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    WriteOptions
		want string
	}{
		{WriteOptions{InPlace: true, Offset: 3}, "012abc6789"},
		{WriteOptions{InPlace: true, Append: true}, "012abc6789abc"},
		{WriteOptions{InPlace: true, Offset: 1, Truncate: true}, "0abc"},
		{WriteOptions{InPlace: true, Offset: 6}, "0abc\x00\x00abc"},
		{WriteOptions{}, "abc"},
	} {
		if _, err := c.WriteStream(testContext(t), name, strings.NewReader("abc"), test.o); err != nil {
			t.Fatalf("%+v: %v", test.o, err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != test.want {
			t.Errorf("%+v: got %q, want %q, %v", test.o, got, test.want, err)
		}
	}
}

// TestWriteGivenUp leaves the old file, whichever side ends the write.
func TestWriteGivenUp(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := c.WriteStream(testContext(t), name, io.MultiReader(io.LimitReader(&pattern{}, 1<<20), iotest.ErrReader(boom)), WriteOptions{}); err != boom {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	w, err := c.Create(ctx, name, WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w, err = c.Create(testContext(t), name, WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := w.Write([]byte("new")); err == nil {
		t.Error("written behind Abort")
	}
	// The guest has forgotten them all once it answers a later request.
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Errorf("got %q, %v", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// TestDownloadGivenUp checks that an unfinished download does not cost the connection.
func TestDownloadGivenUp(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	name := filepath.Join(t.TempDir(), "f")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, 1<<40)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	r, err := c.OpenRead(ctx, name, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for range 50 {
		r, err := c.OpenRead(testContext(t), name, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Truncate(name, 8<<20); err != nil {
		t.Fatal(err)
	}
	if b, err := c.ReadFile(testContext(t), name); err != nil || len(b) != 8<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	noChannels(t, c)
	_, err = c.OpenRead(testContext(t), name, -1, 0)
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
}

// noChannels checks that every channel is closed. Frames before a pong are handled before it.
func noChannels(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.channels); n != 0 {
		t.Errorf("%d channels are open", n)
	}
}
