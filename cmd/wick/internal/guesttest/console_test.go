package guesttest

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// console keeps the output of a machine, and can wait for texts in it.
type console struct {
	mu    sync.Mutex
	text  []byte
	grown chan struct{} // closed when text grows
}

func newConsole() *console { return &console{grown: make(chan struct{})} }

// Write implements [io.Writer].
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	close(c.grown)
	c.grown = make(chan struct{})
	return len(p), nil
}

// look returns the text, and a channel that is closed when it grows.
func (c *console) look() (string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text), c.grown
}

// count returns how often a text occurs.
func (c *console) count(text string) int {
	all, _ := c.look()
	return strings.Count(all, text)
}

// await waits until a text has occurred n times. It returns the rest of the line after the first.
func (c *console) await(t *testing.T, text string, n int) string {
	t.Helper()
	limit := time.After(stepLimit)
	for {
		all, grown := c.look()
		if strings.Count(all, text) >= n {
			_, rest, _ := strings.Cut(all, text)
			line, _, _ := strings.Cut(rest, "\n")
			return strings.TrimSpace(line)
		}
		select {
		case <-grown:
		case <-limit:
			t.Fatalf("%q stands on the console %d times, want %d", text, strings.Count(all, text), n)
		}
	}
}
