package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stdio is where a process's streams come from and go to: FIFOs that containerd's client made, a
// file, or a log program. A name that is empty means none.
type stdio struct {
	names struct{ in, out, err string }

	in       *os.File // the FIFO's end to read from, or nil
	inHeld   *os.File // an end to write to, so that in has no end before closeInput
	out, err io.WriteCloser

	once   sync.Once
	logger *exec.Cmd // the log program, or nil
}

// readyLimit limits how long a log program may take until it is ready.
const readyLimit = 10 * time.Second

// open opens the streams. It does not wait for the other end of a FIFO.
func (s *stdio) open(ctx context.Context, namespace, id string, terminal bool) (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.names.in != "" {
		if s.in, err = os.OpenFile(s.names.in, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open stdin: %w", err)
		}
		if s.inHeld, err = os.OpenFile(s.names.in, os.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open stdin: %w", err)
		}
	}
	if u, bad := url.Parse(s.names.out); bad == nil && u.Scheme == "binary" {
		return s.startLogger(ctx, u, namespace, id)
	}
	if s.out, err = openOutput(s.names.out); err != nil {
		return fmt.Errorf("open stdout: %w", err)
	}
	if terminal {
		return nil
	}
	if s.err, err = openOutput(s.names.err); err != nil {
		return fmt.Errorf("open stderr: %w", err)
	}
	return nil
}

// openOutput opens an output, or returns nil for none.
func openOutput(name string) (io.WriteCloser, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "":
		if name == "" {
			return nil, nil
		}
	case "fifo":
		name = u.Path
	case "file":
		if err := os.MkdirAll(filepath.Dir(u.Path), 0o755); err != nil {
			return nil, err
		}
		return opened(os.OpenFile(u.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644))
	default:
		return nil, fmt.Errorf("%s: unknown scheme %q; want fifo, file or binary", name, u.Scheme)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	flags := os.O_WRONLY
	if info.Mode()&os.ModeNamedPipe != 0 {
		// It holds an end to read from too. So a reader that goes away and comes back, such as ctr
		// task attach, misses nothing, and the process gets no SIGPIPE.
		flags = os.O_RDWR | syscall.O_NONBLOCK
	}
	return opened(os.OpenFile(name, flags, 0))
}

// opened keeps a nil *os.File from becoming an io.WriteCloser.
func opened(f *os.File, err error) (io.WriteCloser, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// startLogger starts a log program. It reads stdout from descriptor 3 and stderr from 4, and closes
// 5 when it is ready.
func (s *stdio) startLogger(ctx context.Context, u *url.URL, namespace, id string) error {
	var args []string
	for name, values := range u.Query() {
		args = append(args, name)
		if len(values) > 0 && values[0] != "" {
			args = append(args, values[0])
		}
	}
	cmd := exec.Command(u.Path, args...)
	cmd.Env = append(os.Environ(), "CONTAINER_ID="+id, "CONTAINER_NAMESPACE="+namespace)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	pipe := func(ours *io.WriteCloser) error {
		r, w, err := os.Pipe()
		if err == nil {
			theirs, *ours = append(theirs, r), w
		}
		return err
	}
	if err := errors.Join(pipe(&s.out), pipe(&s.err)); err != nil {
		return err
	}
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	theirs = append(theirs, w)
	cmd.ExtraFiles = theirs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the log program: %w", err)
	}
	s.logger = cmd
	w.Close()
	limit := time.Now().Add(readyLimit)
	if by, ok := ctx.Deadline(); ok && by.Before(limit) {
		limit = by
	}
	ready.SetReadDeadline(limit)
	// It may also write to the pipe before it closes it.
	if _, err := io.Copy(io.Discard, ready); err != nil {
		return fmt.Errorf("wait for the log program %s: %w", u.Path, err)
	}
	return nil
}

// closeInput ends stdin once what is in the FIFO has been read and its other writers are gone.
func (s *stdio) closeInput() {
	if s.inHeld != nil {
		s.inHeld.Close()
	}
}

// loggerLimit limits how long a log program may take to write what it has read.
const loggerLimit = 10 * time.Second

// close closes the streams, and waits for the log program. It is idempotent.
func (s *stdio) close() {
	s.once.Do(func() {
		s.closeInput()
		if s.in != nil {
			s.in.Close()
		}
		for _, w := range []io.WriteCloser{s.out, s.err} {
			if w != nil {
				w.Close()
			}
		}
		if s.logger != nil {
			timer := time.AfterFunc(loggerLimit, func() { s.logger.Process.Kill() })
			s.logger.Wait()
			timer.Stop()
		}
	})
}
