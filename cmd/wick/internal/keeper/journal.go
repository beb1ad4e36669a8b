package keeper

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// maxLog is the longest log file, in bytes. At that length it becomes the old one, which it
// replaces. So a machine's log has between one and two times this.
const maxLog = 8 << 20

// Line is a line of output with its end, or a part of a long one. An entry of the log has the form
// of one too, but may have several lines that were written together.
type Line struct {
	Time   time.Time `json:"t"`
	Stderr bool      `json:"e,omitempty"`
	Text   []byte    `json:"b"`
}

// Journal writes a machine's log. Its methods may be called from any goroutine.
type Journal struct {
	path string
	mu   sync.Mutex
	file *os.File
	size int64
	err  error
}

// OpenJournal opens the log of a machine that this process holds, and adds to it.
func (m *Machine) OpenJournal() (*Journal, error) {
	j := &Journal{path: m.Path("log")}
	return j, j.open()
}

func (j *Journal) open() error {
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	j.file = f
	if info, err := f.Stat(); err == nil {
		j.size = info.Size()
	}
	return nil
}

// Close closes the log, and returns the first error of writing it.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.err, j.file.Close())
}

func (j *Journal) add(line Line) {
	text, err := json.Marshal(line)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && j.size+int64(len(text)) > maxLog {
		j.file.Close()
		err = os.Rename(j.path, j.path+".old")
		if opened := j.open(); err == nil {
			err = opened
		}
	}
	if err == nil {
		var n int
		n, err = j.file.Write(append(text, '\n'))
		j.size += int64(n)
	}
	if j.err == nil {
		j.err = err // the machine goes on without a log
	}
}

// longestEntry is the longest text of an entry, in bytes.
const longestEntry = 16 << 10

// Output returns a writer of one of the workload's outputs. Its Close writes an unfinished line.
func (j *Journal) Output(stderr bool) io.WriteCloser {
	return &journalOutput{journal: j, stderr: stderr}
}

type journalOutput struct {
	journal *Journal
	stderr  bool
	rest    []byte // of a line
}

// Write implements io.Writer. It never fails: what cannot be logged is lost.
func (o *journalOutput) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		room := min(len(p), longestEntry-len(o.rest))
		end := bytes.LastIndexByte(p[:room], '\n') + 1
		whole := end > 0
		if !whole {
			end = room
		}
		o.rest = append(o.rest, p[:end]...)
		p = p[end:]
		if whole || len(o.rest) == longestEntry {
			o.Close()
		}
	}
	return n, nil
}

func (o *journalOutput) Close() error {
	if len(o.rest) > 0 {
		o.journal.add(Line{time.Now(), o.stderr, o.rest})
		o.rest = o.rest[:0]
	}
	return nil
}

// LogOptions select lines of a log.
type LogOptions struct {
	// Tail is how many of the last lines there are to be; negative for all.
	Tail int
	// Since and Until are when they were written; zero for no bound.
	Since, Until time.Time
	// Follow goes on until the machine has no supervisor.
	Follow bool
}

// followPause is how often a log that is followed is read.
const followPause = 100 * time.Millisecond

// Logs calls show for the lines of the machine's log that o selects, in their order. It ends early
// with the error of show.
func (m *Machine) Logs(ctx context.Context, o LogOptions, show func(Line) error) error {
	var held []Line
	keeping := o.Tail >= 0
	chosen := func(line Line) error {
		switch {
		case line.Time.Before(o.Since) || !o.Until.IsZero() && line.Time.After(o.Until):
		case !keeping:
			return show(line)
		case o.Tail == 0:
		case len(held) >= o.Tail:
			held = append(held[1:], line)
		default:
			held = append(held, line)
		}
		return nil
	}
	if old, err := os.Open(m.Path("log.old")); err == nil {
		err = (&entries{r: bufio.NewReader(old)}).read(chosen)
		old.Close()
		if err != nil {
			return err
		}
	}
	file, err := os.Open(m.Path("log"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := m.State(); err != nil {
			return err
		}
		if file, err = os.OpenFile(m.Path("log"), os.O_CREATE|os.O_RDONLY, 0o600); err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { file.Close() }()
	log := &entries{r: bufio.NewReader(file)}
	if err := log.read(chosen); err != nil {
		return err
	}
	for _, line := range held {
		if err := show(line); err != nil {
			return err
		}
	}
	keeping = false
	for o.Follow {
		live := m.held()
		if err := log.read(chosen); err != nil {
			return err
		}
		if m.replaced(file) {
			file.Close()
			if file, err = os.Open(m.Path("log")); err != nil {
				return fmt.Errorf("open the log: %w", err)
			}
			log = &entries{r: bufio.NewReader(file)}
			continue
		}
		if !live {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followPause):
		}
	}
	return nil
}

// replaced reports whether the log is another file by now.
func (m *Machine) replaced(f *os.File) bool {
	was, err := f.Stat()
	now, err2 := os.Stat(m.Path("log"))
	return err == nil && err2 == nil && !os.SameFile(was, now)
}

// entries reads the entries of a log.
type entries struct {
	r    *bufio.Reader
	part []byte // of an entry that is not all there yet
}

// read calls show for all entries that are there. Text that is no entry is left out.
func (e *entries) read(show func(Line) error) error {
	for {
		text, err := e.r.ReadBytes('\n')
		e.part = append(e.part, text...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		var line Line
		err = json.Unmarshal(e.part, &line)
		e.part = e.part[:0]
		if err != nil {
			continue
		}
		for text := range bytes.Lines(line.Text) {
			if err := show(Line{line.Time, line.Stderr, text}); err != nil {
				return err
			}
		}
	}
}
