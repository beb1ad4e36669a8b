package copying

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
)

const (
	barWidth = 30
	// barPause is the time before the first drawing and between two, so that a quick copy
	// shows no bar.
	barPause = 100 * time.Millisecond
)

// A Bar shows the progress of copying a file or a tree. It shows nothing if its output is not a
// terminal. Several goroutines may use it at the same time.
type Bar struct {
	w io.Writer // nil: nothing is shown

	mu    sync.Mutex
	name  string
	size  int64 // in bytes, negative if unknown
	done  int64
	drawn time.Time
	shown bool
}

// NewBar returns a bar that draws on w if w is a terminal.
func NewBar(w io.Writer, name string, size int64) *Bar {
	b := &Bar{name: name, size: size, drawn: time.Now()}
	if terminal.Is(w) {
		b.w = w
	}
	return b
}

// Reader returns a reader of r that adds the bytes read to the bar.
func (b *Bar) Reader(r io.Reader) io.Reader {
	if b.w == nil {
		return r
	}
	return &barReader{b, r}
}

type barReader struct {
	b *Bar
	r io.Reader
}

func (r *barReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.b.add(n, time.Now())
	return n, err
}

// add adds n bytes, and draws the bar if barPause has passed.
func (b *Bar) add(n int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += int64(n)
	if now.Sub(b.drawn) >= barPause {
		b.drawn, b.shown = now, true
		io.WriteString(b.w, "\r"+b.line()+"\x1b[K")
	}
}

// count adds n bytes of the file called name.
func (b *Bar) count(name string, n int64) {
	if b.w != nil {
		b.mu.Lock()
		b.name = name
		b.mu.Unlock()
		b.add(int(n), time.Now())
	}
}

// line returns the current text of the bar.
func (b *Bar) line() string {
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

// shortName returns the end of the name in printable characters, short enough for one line.
func (b *Bar) shortName() string {
	name := []rune(output.Printable(b.name))
	if len(name) > barWidth {
		return "..." + string(name[len(name)-barWidth+3:])
	}
	return string(name)
}

// Clear erases the bar from the terminal.
func (b *Bar) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		io.WriteString(b.w, "\r\x1b[K")
	}
}
