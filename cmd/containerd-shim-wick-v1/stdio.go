package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// stdio is where a process's streams come from and go to: FIFOs that containerd's client made, a
// file, or a log program. A name that is empty means none.
type stdio struct {
	names struct{ in, out, err string }

	in       *os.File // the FIFO's end to read from, or nil
	out, err io.WriteCloser
	logger   *logger // or nil

	once sync.Once
	mu   sync.Mutex
	// mu guards the fields from here on.
	inHeld  *os.File // an end to write to, so that in has no end before closeInput
	inEnded bool
}

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
		if err = s.holdInput(); err != nil {
			return fmt.Errorf("open stdin: %w", err)
		}
	}
	if u, bad := url.Parse(s.names.out); bad == nil && u.Scheme == "binary" {
		return s.startLogger(ctx, u, terminal, namespace, id)
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

// holdInput keeps stdin open until closeInput, which may have been called already.
func (s *stdio) holdInput() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inEnded {
		s.inHeld, err = os.OpenFile(s.names.in, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	}
	return err
}

// closeInput ends stdin once what is in the FIFO has been read and its other writers are gone.
func (s *stdio) closeInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inEnded = true
	if s.inHeld != nil {
		s.inHeld.Close()
	}
}

// close closes the streams. A log program then reads their end. It is idempotent.
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
	})
}
