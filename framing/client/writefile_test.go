package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/framing"
)

func TestWriteFile(t *testing.T) {
	c, g := dialed(t)
	path := filepath.Join(g.Dir, "a/file")
	for _, size := range []int{0, 1, contentBuffer - 30, contentBuffer, contentBuffer + 1, 1 << 20, int(MaxContent(path))} {
		content := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)
		// The rest of the reader is left there.
		r := bytes.NewReader(content)
		if err := c.WriteFile(testContext(t), path, r, int64(size), WriteFileOptions{}); err != nil {
			t.Fatal(err)
		}
		if r.Len() != len(content)-size {
			t.Errorf("%d bytes: %d were read", size, len(content)-r.Len())
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content[:size]) {
			t.Errorf("%d bytes: the file has %d, %v", size, len(got), err)
		}
	}
}

func TestWriteFileHead(t *testing.T) {
	c, p := pair(t)
	w := background(func() (int, error) {
		return 0, c.WriteFile(testContext(t), "/x", strings.NewReader("abc"), 3, WriteFileOptions{Root: true, Append: true})
	})
	seq, payload := p.expect(framing.TypeWriteFile)
	var head framing.WriteFile
	content, err := framing.ParseWriteFile(payload, &head)
	if err != nil || string(head.Path) != "/x" || !head.Sudo || !head.Append || string(content) != "abc" {
		t.Errorf("got %+v, %q, %v", head, content, err)
	}
	p.send(framing.AppendWriteFileResult(nil, seq, "disk full"))
	e, ok := errors.AsType[*WriteFileError]((<-w).err)
	if !ok || e.Path != "/x" || e.Reason != "disk full" {
		t.Errorf("got %v", e)
	}
}

func TestWriteFileTooLarge(t *testing.T) {
	c, p := pair(t)
	ctx := testContext(t)
	for _, err := range []error{
		c.WriteFile(ctx, "/f", zeros{}, MaxContent("/f")+1, WriteFileOptions{}),
		c.WriteFile(ctx, "/f", zeros{}, -1, WriteFileOptions{}),
		c.WriteFile(ctx, strings.Repeat("x", framing.MaxText+1), zeros{}, 1, WriteFileOptions{}),
	} {
		if !isType[*RequestError](err) {
			t.Errorf("got %v", err)
		}
	}
	c.Close()
	if n := p.expectEnd(); n > 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

// TestShortContent checks that short content found before anything was sent costs only the call.
func TestShortContent(t *testing.T) {
	c, g := dialed(t)
	boom := errors.New("boom")
	for _, test := range []struct {
		content io.Reader
		size    int64
		want    error
		read    int64
	}{
		{strings.NewReader("abc"), 4, io.ErrUnexpectedEOF, 3},
		{strings.NewReader(""), 1, io.ErrUnexpectedEOF, 0},
		{strings.NewReader("abc"), 1 << 20, io.ErrUnexpectedEOF, 3},
		{io.MultiReader(strings.NewReader("abc"), failing{boom}), 1 << 20, boom, 3},
	} {
		err := c.WriteFile(testContext(t), filepath.Join(g.Dir, "f"), test.content, test.size, WriteFileOptions{})
		e, ok := errors.AsType[*ContentError](err)
		if !ok || e.Err != test.want || e.Read != test.read || e.Size != test.size || e.Closed {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(g.Dir); err != nil || len(left) > 0 {
		t.Errorf("the guest wrote %v, %v", left, err)
	}
}

// TestContentBreaksOff checks that content that fails within a frame costs the connection.
func TestContentBreaksOff(t *testing.T) {
	boom := errors.New("boom")
	for want, content := range map[error]io.Reader{
		io.ErrUnexpectedEOF: io.LimitReader(zeros{}, 100<<10),
		boom:                io.MultiReader(io.LimitReader(zeros{}, 100<<10), failing{boom}),
	} {
		c, p := pair(t)
		exec := background(func() (*Result, error) { return c.Exec(testContext(t), Exec{}) })
		p.expect(framing.TypeExec)
		n := background(func() (int, error) { return p.expectEnd(), nil })
		err := c.WriteFile(testContext(t), "/f", content, 1<<20, WriteFileOptions{})
		e, ok := err.(*ContentError)
		if !ok || e.Err != want || e.Read != 100<<10 || !e.Closed {
			t.Errorf("got %v", err)
		}
		if err := (<-exec).err; !isType[*ConnError](err) || !isType[*ContentError](err) {
			t.Errorf("another call: %v", err)
		}
		if n := (<-n).v; n >= 1<<20 {
			t.Errorf("%d bytes of the frame were sent", n)
		}
	}
}

// TestWriteFileInterrupted ends by its context while the guest does not read.
func TestWriteFileInterrupted(t *testing.T) {
	c, p := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	w := background(func() (int, error) { return 0, c.WriteFile(ctx, "/f", zeros{}, 8<<20, WriteFileOptions{}) })
	// Another call waits for its turn meanwhile, and can be cancelled without harm.
	if _, err := p.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	if err := c.WriteFile(short, "/g", zeros{}, 8<<20, WriteFileOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the one that waits: %v", err)
	}
	if c.Err() != nil {
		t.Errorf("it ended the connection: %v", c.Err())
	}
	cancel()
	err := (<-w).err
	if e, ok := err.(*ContentError); !ok || e.Err != context.Canceled || !e.Closed {
		t.Errorf("got %v", err)
	}
	if err := c.Err(); !isType[*ConnError](err) || !errors.Is(err, context.Canceled) {
		t.Errorf("the connection: %v", err)
	}
	if n := p.expectEnd(); n >= 8<<20 {
		t.Errorf("%d bytes were sent", n)
	}
}

// TestRequestsDuringWriteFile checks that requests wait for the frame to end, and are whole.
func TestRequestsDuringWriteFile(t *testing.T) {
	c, p := pair(t)
	r, feed := io.Pipe()
	w := background(func() (int, error) { return 0, c.WriteFile(testContext(t), "/f", r, 1<<20, WriteFileOptions{}) })
	if _, err := feed.Write(make([]byte, contentBuffer)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Peek(1); err != nil { // the frame has begun
		t.Fatal(err)
	}
	ping := background(func() (time.Duration, error) { return c.Ping(testContext(t)) })
	go feed.Write(make([]byte, 1<<20-contentBuffer))
	first, _ := p.expect(framing.TypeWriteFile)
	second, _ := p.expect(framing.TypePing)
	p.pong(second)
	(<-ping).must(t)
	p.send(framing.AppendWriteFileResult(nil, first, ""))
	(<-w).must(t)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
