package main

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"wick/framing/client"
)

// A terminal is the tool's own, in raw mode: every key goes to the guest, Ctrl-C too, and the guest's terminal does all that ours
// would do.
type terminal struct {
	file *os.File
	size func(rows, cols uint16) // told of each size

	mu      sync.Mutex
	state   *term.State // what restore goes back to; nil if there is nothing to restore
	signals chan os.Signal
	done    chan struct{}
}

// openTerminal puts the terminal behind f into raw mode. restore must be called, on every way out.
func (t *tool) openTerminal(f *os.File) (*terminal, error) {
	r := &terminal{file: f, signals: make(chan os.Signal, 8), done: make(chan struct{})}
	t.terminal.Store(r) // for main, whatever ends the command
	signal.Notify(r.signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	if err := r.raw(); err != nil {
		r.restore()
		return nil, err
	}
	go r.watch()
	return r, nil
}

// raw puts the terminal into raw mode, unless it is.
func (r *terminal) raw() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		return nil
	}
	state, err := term.MakeRaw(int(r.file.Fd()))
	if err == nil {
		r.state = state
	}
	return err
}

// cook puts the terminal back into the mode that it was in.
func (r *terminal) cook() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		term.Restore(int(r.file.Fd()), r.state)
		r.state = nil
	}
}

// restore is cook for good. It may be called on nil, and again.
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

// drop forgets the keys that were typed and not read: they were for the guest, and not for what reads
// the terminal next. It may be called on nil, and does nothing after restore.
func (r *terminal) drop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		unix.IoctlSetInt(int(r.file.Fd()), unix.TCFLSH, unix.TCIFLUSH)
	}
}

// follow tells the guest's terminal the size of ours, now and whenever it changes.
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

// watch sees to signals that others send: the keys for them go to the guest.
func (r *terminal) watch() {
	for {
		select {
		case sig := <-r.signals:
			r.handle(sig)
		case <-r.done:
			return
		}
	}
}

func (r *terminal) handle(sig os.Signal) {
	switch sig {
	case syscall.SIGWINCH:
		r.resized()
	case syscall.SIGTSTP:
		// The shell gets its terminal as it was, and we ours when we go on; the stop need not have come when Kill returns.
		r.cook()
		syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
	case syscall.SIGCONT:
		r.raw()
		r.resized()
	}
}

// terminalModes are the modes of our own terminal, nil if there is none.
func (t *tool) terminalModes() *client.Modes {
	for _, stream := range []any{t.stdin, t.stdout} {
		if f, ok := stream.(*os.File); ok {
			if m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
				return &client.Modes{Input: m.Iflag, Output: m.Oflag, Local: m.Lflag, Chars: m.Cc[:]}
			}
		}
	}
	return nil
}

// sameFile reports whether two streams lead to one file, as after 2>&1.
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

// terminalSize is the size of the terminal behind f, nil if there is none, or if it does not know its size: a serial line says 0.
func terminalSize(f *os.File) *client.Size {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return nil
	}
	return &client.Size{Rows: uint16(rows), Cols: uint16(cols)}
}
