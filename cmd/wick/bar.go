package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	barWidth = 30
	// barPause is the time between two drawings. The first comes as late too, so that what is quick shows no bar.
	barPause = 100 * time.Millisecond
)

// A bar shows on a terminal how far a file has gone, or a tree. Where there is no terminal it shows nothing.
//
// Both halves of a copy may show on it at the same time.
type bar struct {
	w io.Writer // nil: nothing is shown

	mu    sync.Mutex
	name  string
	size  int64 // in bytes, or less than 0 if it is not known
	done  int64
	drawn time.Time
	shown bool
}

// newBar makes a bar on w, if that is a terminal.
func newBar(w io.Writer, name string, size int64) *bar {
	b := &bar{name: name, size: size, drawn: time.Now()}
	if isTerminal(w) {
		b.w = w
	}
	return b
}

// reader returns r with what is read from it counted.
func (b *bar) reader(r io.Reader) io.Reader {
	if b.w == nil {
		return r
	}
	return &barReader{b, r}
}

type barReader struct {
	b *bar
	r io.Reader
}

func (r *barReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.b.add(n, time.Now())
	return n, err
}

// add counts n bytes more, and draws if it is time.
func (b *bar) add(n int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += int64(n)
	if now.Sub(b.drawn) >= barPause {
		b.drawn, b.shown = now, true
		io.WriteString(b.w, "\r"+b.line()+"\x1b[K")
	}
}

// count counts bytes of a file of the tree.
func (b *bar) count(name string, n int64) {
	if b.w != nil {
		b.mu.Lock()
		b.name = name
		b.mu.Unlock()
		b.add(int(n), time.Now())
	}
}

// line is the bar as it stands.
func (b *bar) line() string {
	if b.size < 0 {
		return fmt.Sprintf("%.1f MiB %s", float64(b.done)/(1<<20), b.shortName())
	}
	full := barWidth
	percent := int64(100)
	if b.size > 0 {
		done := min(b.done, b.size) // it may have grown
		full, percent = int(done*barWidth/b.size), done*100/b.size
	}
	return fmt.Sprintf("%s [%s%s] %3d%% of %.1f MiB", b.shortName(),
		strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), percent, float64(b.size)/(1<<20))
}

// shortName is the end of the name, so that the bar fits in a line, without what a terminal would take for more than a name.
func (b *bar) shortName() string {
	name := []rune(printable(b.name))
	if len(name) > barWidth {
		return "..." + string(name[len(name)-barWidth+3:])
	}
	return string(name)
}

// clear takes the bar off the terminal.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		io.WriteString(b.w, "\r\x1b[K")
	}
}
