package vmm

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Tail keeps the last bytes of what is written to it, and passes everything on if somebody looks. It is for a machine's console: a machine
// that nobody looks at must not wait for its output to be taken, nor fill the host's memory with it.
type Tail struct {
	mu   sync.Mutex
	kept []byte
	max  int
	to   io.Writer
}

// NewTail keeps at most max bytes, or less than twice as many for a while. The to may be nil.
func NewTail(max int, to io.Writer) *Tail { return &Tail{max: max, to: to} }

// Write never fails: a reader who went away is no business of the machine's.
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

// Bytes returns the last bytes, at most as many as are kept.
func (t *Tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.kept[max(0, len(t.kept)-t.max):])
}

// Lines returns the last n lines, without their ends; all that are kept if n is 0.
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
