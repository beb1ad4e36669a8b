package main

import (
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"wick/framing/client"
)

// A terminal is the tool's terminal in another mode. In raw mode every key goes to the guest,
// including Ctrl-C, and the guest's terminal does what this one otherwise would.
type terminal struct {
	file *os.File
	mode func(fd int) (*term.State, error) // sets the mode
	size func(rows, cols uint16)           // called with each new size

	mu      sync.Mutex
	state   *term.State // the state to restore; nil if the mode is not set
	signals chan os.Signal
	done    chan struct{}
}

// openTerminal sets the mode of the terminal f. The caller must call restore on every path.
func (t *tool) openTerminal(f *os.File, mode func(fd int) (*term.State, error)) (*terminal, error) {
	r := &terminal{file: f, mode: mode, signals: make(chan os.Signal, 8), done: make(chan struct{})}
	t.terminal.Store(r) // mainCode restores it on every exit
	signal.Notify(r.signals, terminalSignals...)
	if err := r.raw(); err != nil {
		r.restore()
		return nil, err
	}
	go r.watch()
	return r, nil
}

// raw sets the terminal's mode, if it is not set yet.
func (r *terminal) raw() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		return nil
	}
	state, err := r.mode(int(r.file.Fd()))
	if err == nil {
		r.state = state
	}
	return err
}

// cook restores the terminal's mode from before raw.
func (r *terminal) cook() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		term.Restore(int(r.file.Fd()), r.state)
		r.state = nil
	}
}

// restore restores the terminal's mode for good. It may be called on nil, and repeatedly.
func (r *terminal) restore() {
	if r == nil {
		return
	}
	r.mu.Lock()
	select {
	case <-r.done:
		r.mu.Unlock()
		return
	default:
		close(r.done)
	}
	r.mu.Unlock()
	signal.Stop(r.signals)
	r.cook()
}

// drop discards typed keys that were not read. They were for the guest, not for the program that
// reads the terminal next. drop may be called on nil, and does nothing after restore.
func (r *terminal) drop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		flushInput(r.file)
	}
}

// follow calls resize with the terminal's size now and whenever it changes.
func (r *terminal) follow(resize func(rows, cols uint16)) {
	r.mu.Lock()
	r.size = resize
	r.mu.Unlock()
	r.resized()
}

func (r *terminal) resized() {
	r.mu.Lock()
	size := r.size
	r.mu.Unlock()
	if s := terminalSize(r.file); s != nil && size != nil {
		size(s.Rows, s.Cols)
	}
}

// watch handles signals that other processes send, and sizes that no signal tells of. The keys for
// the signals go to the guest.
func (r *terminal) watch() {
	for {
		select {
		case sig := <-r.signals:
			r.handle(sig)
		case <-sizePolls():
			r.resized()
		case <-r.done:
			return
		}
	}
}

// sameFile reports whether two streams are the same file, as after 2>&1.
func sameFile(a, b io.Writer) bool {
	f, ok := a.(*os.File)
	g, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	one, err := f.Stat()
	two, err2 := g.Stat()
	return err == nil && err2 == nil && os.SameFile(one, two)
}

// terminalSize returns the size of the terminal f. It returns nil if f is not a terminal or does
// not know its size, such as a serial line.
func terminalSize(f *os.File) *client.Size {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return nil
	}
	return &client.Size{Rows: uint16(rows), Cols: uint16(cols)}
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
