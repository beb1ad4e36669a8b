package vmm

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Tail keeps the last bytes written to it, and passes everything on to a second writer if there is
// one. It is meant for a machine's console. A machine must not wait until its output is read, nor
// fill the host's memory with it.
type Tail struct {
	mu   sync.Mutex
	kept []byte
	max  int
	to   io.Writer
}

// NewTail returns a Tail that keeps at most size bytes, and for a while less than twice as many. to
// may be nil.
func NewTail(size int, to io.Writer) *Tail { return &Tail{max: size, to: to} }

// Write never fails, because a failed second writer must not affect the machine.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		if _, err := t.to.Write(p); err != nil {
			t.to = nil
		}
	}
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.max {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-t.max:]...)
	}
	return len(p), nil
}

// Bytes returns the kept bytes.
func (t *Tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.kept[max(0, len(t.kept)-t.max):])
}

// Lines returns the last n lines without their ends, or all kept lines if n is 0.
func (t *Tail) Lines(n int) []string {
	t.mu.Lock()
	text := string(bytes.TrimRight(t.kept, "\r\n"))
	t.mu.Unlock()
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], "\r")
	}
	if n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}
