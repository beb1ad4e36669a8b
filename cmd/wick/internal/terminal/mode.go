package terminal

import (
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"wick/framing/client"
)

// A Terminal is the tool's terminal in another mode. In raw mode every key goes to the guest,
// including Ctrl-C, and the guest's terminal does what this one otherwise would.
type Terminal struct {
	file *os.File
	mode func(fd int) (*term.State, error) // sets the mode
	size func(rows, cols uint16)           // called with each new size

	mu      sync.Mutex
	state   *term.State // the state to restore; nil if the mode is not set
	signals chan os.Signal
	done    chan struct{}
}

// Open sets the mode of the terminal f. opened is called before that, so that every exit of
// the program can restore the mode. The caller must call [Terminal.Restore] on every path.
func Open(f *os.File, mode func(fd int) (*term.State, error), opened func(*Terminal)) (*Terminal, error) {
	r := &Terminal{file: f, mode: mode, signals: make(chan os.Signal, 8), done: make(chan struct{})}
	opened(r)
	signal.Notify(r.signals, terminalSignals...)
	if err := r.raw(); err != nil {
		r.Restore()
		return nil, err
	}
	go r.watch()
	return r, nil
}

// raw sets the terminal's mode, if it is not set yet.
func (r *Terminal) raw() error {
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
func (r *Terminal) cook() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		term.Restore(int(r.file.Fd()), r.state)
		r.state = nil
	}
}

// Restore restores the terminal's mode for good. It may be called on nil, and repeatedly.
func (r *Terminal) Restore() {
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

// Drop discards typed keys that were not read. They were for the guest, not for the program that
// reads the terminal next. Drop may be called on nil, and does nothing after Restore.
func (r *Terminal) Drop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		flushInput(r.file)
	}
}

// Follow calls resize with the terminal's size now and whenever it changes.
func (r *Terminal) Follow(resize func(rows, cols uint16)) {
	r.mu.Lock()
	r.size = resize
	r.mu.Unlock()
	r.Resized()
}

// Resized passes the terminal's size on once more, as a guest needs that comes back.
func (r *Terminal) Resized() {
	r.mu.Lock()
	size := r.size
	r.mu.Unlock()
	if s := Size(r.file); s != nil && size != nil {
		size(s.Rows, s.Cols)
	}
}

// watch handles signals that other processes send, and sizes that no signal tells of. The keys for
// the signals go to the guest.
func (r *Terminal) watch() {
	for {
		select {
		case sig := <-r.signals:
			r.handle(sig)
		case <-sizePolls():
			r.Resized()
		case <-r.done:
			return
		}
	}
}

// Size returns the size of the terminal f. It returns nil if f is not a terminal or does
// not know its size, such as a serial line.
func Size(f *os.File) *client.Size {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return nil
	}
	return &client.Size{Rows: uint16(rows), Cols: uint16(cols)}
}

// Is reports whether a stream is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
