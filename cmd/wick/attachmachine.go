//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/terminal"
)

// viewing is a wick attach to the command of a machine, which its supervisor passes on.
type viewing struct {
	t      *tool
	stream *keeper.Stream
	left   chan struct{} // closed when the user types the detach keys
	term   *terminal.Terminal
	size   atomic.Uint32 // the rows and columns that were sent last
}

// attachMachine takes part in the command of a machine until its end.
func (t *tool) attachMachine(ctx context.Context, name string, o attachOptions) error {
	s, err := keeper.Default()
	if err != nil {
		return err
	}
	m, err := s.Find(name)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a closed stdout is an error of a write
	stream, joined, err := m.Attach(ctx)
	if err != nil {
		return exit.NotRun(err)
	}
	defer stream.Close()
	v := &viewing{t: t, stream: stream, left: make(chan struct{})}
	if err := v.listen(joined, o); err != nil {
		return exit.NotRun(err)
	}
	defer v.term.Restore()
	if o.kill {
		pass := func(_ context.Context, sig syscall.Signal) error {
			return stream.Send(&keeper.Message{Signal: int(sig)})
		}
		t.running.Store(&pass)
		defer t.running.Store(nil)
	}
	over := make(chan error, 1)
	go func() { over <- v.show() }()
	select {
	case err = <-over:
	case <-v.left:
		err = errLeft
	case <-ctx.Done():
		if err = errLeft; o.kill {
			stream.Send(&keeper.Message{Signal: int(syscall.SIGKILL)})
			select {
			case err = <-over:
			case <-time.After(unwindLimit / 2):
			}
		}
	}
	if errors.Is(err, errLeft) {
		v.term.Drop()
		v.term.Restore()
		fmt.Fprintf(t.stderr, "\nwick: left it running: wick attach %s\n", name)
		return nil
	}
	return err
}

// listen has what is typed go to the command.
func (v *viewing) listen(joined *keeper.Joined, o attachOptions) (err error) {
	in := v.t.keyboard()
	switch {
	case in == nil || !o.stdin:
	case joined.Terminal && joined.Stdin:
		v.term, err = terminal.Open(in, terminal.Raw, v.t.terminal.Store)
	default: // Ctrl-C leaves, and so do the detach keys
		v.term, err = terminal.Open(in, terminal.Lines, v.t.terminal.Store)
	}
	if err != nil {
		return fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	if v.term != nil && joined.Terminal {
		v.term.Follow(v.resize)
	}
	switch {
	case v.term != nil:
		go v.keysFrom(terminal.UntilDetach(in, v.left))
	case o.stdin && joined.Stdin:
		go v.keysFrom(v.t.stdin)
	}
	return nil
}

// resize tells the command the size of the terminal.
func (v *viewing) resize(rows, cols uint16) {
	size := uint32(rows)<<16 | uint32(cols)
	if v.size.Swap(size) != size {
		v.stream.Send(&keeper.Message{Rows: rows, Cols: cols})
	}
}

// keysFrom passes on what is typed, and its end.
func (v *viewing) keysFrom(from io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && v.stream.Send(&keeper.Message{Stdin: buf[:n]}) != nil {
			return
		}
		if err != nil {
			v.stream.Send(&keeper.Message{Close: true})
			return
		}
	}
}

// show shows the output until the command's end, whose code it returns as an error. It returns
// errLeft if the reader of the output is gone.
func (v *viewing) show() error {
	for {
		m, err := v.stream.Receive()
		switch {
		case err != nil:
			return exit.NotRun(errors.New("the machine's supervisor has ended"))
		case m.End != nil && m.End.Error != "":
			return &exit.Error{Code: m.End.Code, Err: errors.New(m.End.Error)}
		case m.End != nil:
			return exit.OfCommand(m.End.Code)
		case m.Lost > 0:
			fmt.Fprintf(v.t.stderr, "wick: %d bytes of output were dropped, because nothing took them; wick logs has them\n", m.Lost)
		}
		_, err = v.t.stdout.Write(m.Stdout)
		if err == nil {
			_, err = v.t.stderr.Write(m.Stderr)
		}
		switch {
		case errors.Is(err, syscall.EPIPE):
			return errLeft
		case err != nil:
			return exit.NotRun(err)
		}
	}
}
