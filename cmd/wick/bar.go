package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	barWidth = 30
	// barPause is the time between two drawings. The first comes as late too, so that what is quick shows no bar.
	barPause = 100 * time.Millisecond
)

// A bar shows on a terminal how far a file has gone. Where there is no terminal it shows nothing.
type bar struct {
	w     io.Writer // nil: nothing is shown
	name  string
	size  int64
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
	b.done += int64(n)
	if now.Sub(b.drawn) >= barPause {
		b.drawn, b.shown = now, true
		io.WriteString(b.w, "\r"+b.line()+"\x1b[K")
	}
}

// line is the bar as it stands.
func (b *bar) line() string {
	full := barWidth
	percent := int64(100)
	if b.size > 0 {
		full, percent = int(b.done*barWidth/b.size), b.done*100/b.size
	}
	return fmt.Sprintf("%s [%s%s] %3d%% of %.1f MiB", b.name,
		strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), percent, float64(b.size)/(1<<20))
}

// clear takes the bar off the terminal.
func (b *bar) clear() {
	if b.shown {
		io.WriteString(b.w, "\r\x1b[K")
	}
}
