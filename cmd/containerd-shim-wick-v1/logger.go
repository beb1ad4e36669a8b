package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"time"
)

// logger is a log program that runs.
type logger struct {
	process *os.Process
	done    chan struct{} // closed when it has ended
}

const (
	// readyLimit limits how long a log program may take until it is ready.
	readyLimit = 10 * time.Second
	// loggerLimit limits how long a log program may take to write what it has read.
	loggerLimit = 10 * time.Second
)

// startLogger starts a log program. It reads stdout from descriptor 3 and stderr from 4, and closes
// 5 when it is ready.
func (s *stdio) startLogger(
	ctx context.Context, u *url.URL, terminal bool, namespace, id string,
) error {
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
	s.logger = &logger{process: cmd.Process, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(s.logger.done)
	}()
	w.Close()
	if terminal {
		s.err.Close() // so that it ends with stdout
	}
	limit := time.Now().Add(readyLimit)
	if by, ok := ctx.Deadline(); ok && by.Before(limit) {
		limit = by
	}
	ready.SetReadDeadline(limit)
	// It closes the pipe, or writes to it.
	if _, err := ready.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the log program %s: %w", u.Path, err)
	}
	return nil
}

// endLogger waits until the log program has written everything, for a limited time. The streams are
// closed.
func (s *stdio) endLogger() {
	if s.logger == nil {
		return
	}
	select {
	case <-s.logger.done:
	case <-time.After(loggerLimit):
		s.killLogger()
	}
}

// killLogger kills the log program, if there is one.
func (s *stdio) killLogger() {
	if s.logger != nil {
		s.logger.process.Kill()
		<-s.logger.done
	}
}
