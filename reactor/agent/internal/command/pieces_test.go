package command

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// TestSpoolPieces spools an output that comes in small pieces. Whole buffers go to the file, and
// the rest stays in memory as long as no other output waits for a buffer.
func TestSpoolPieces(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(cfg *Config) { cfg.Captures = 1 })
	text := []byte(numbers(40000))
	onDisk := func(o *capture, want int) {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Fstat(o.spool, &st); err != nil || st.Size != int64(want) {
			t.Errorf("the file has %d bytes, %v; want %d", st.Size, err, want)
		}
		got := make([]byte, o.kept)
		if o.readAt(got, 0); !bytes.Equal(got, text[:len(got)]) {
			t.Errorf("the first %d bytes are not those of the output", len(got))
		}
	}
	r.Do(func() {
		spare, err := reactor.NewPool(2)
		if err != nil {
			t.Error(err)
			return
		}
		defer spare.Close()
		only := r.s.captures
		r.s.captures = spare
		o := capture{service: r.s, command: &command{service: r.s}, spool: -1, limit: framing.MaxOutput}
		at := 0
		for range 150 {
			o.add(text[at : at+1000])
			at += 1000
		}
		onDisk(&o, 2*reactor.BufferSize)
		other := spare.Get()
		for range 50 {
			o.add(text[at : at+1000])
			at += 1000
		}
		spare.Put(other)
		if o.buf != nil {
			t.Error("an output on disk kept the last buffer")
		}
		onDisk(&o, at)
		if r.s.spooled != int64(at) {
			t.Errorf("%d bytes count as on disk, want %d", r.s.spooled, at)
		}
		o.release()
		r.s.captures = only
	})
	r.quiet()
}

// TestSpooledResult has a command write much to both outputs, which the result has as they are.
func TestSpooledResult(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h := r.Dial()
	h.Exec(1, "seq 40000; seq 40000 | tr 0123456789 abcdefghij >&2")
	got := h.Result(1)
	want := numbers(40000)
	letters := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return c - '0' + 'a'
		}
		return c
	}, want)
	if got.ExitCode != 0 || string(got.Stdout) != want || string(got.Stderr) != letters {
		t.Errorf("code %d, %d and %d bytes; want 0, and %d bytes each as they were written",
			got.ExitCode, len(got.Stdout), len(got.Stderr), len(want))
	}
	r.quiet()
}

// numbers returns the lines that seq prints.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(sys.Num(i+1) + "\n")
	}
	return b.String()
}
