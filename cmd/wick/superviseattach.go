//go:build linux

package main

import (
	"context"
	"io"
	"syscall"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/framing/client"
)

// outputs passes one of the command's outputs on to the log, and to those that are attached.
type outputs struct {
	log     io.WriteCloser
	viewers io.Writer
}

// Write implements io.Writer. It never fails.
func (o *outputs) Write(p []byte) (int, error) {
	o.log.Write(p)
	return o.viewers.Write(p)
}

// output returns a writer of one of the command's outputs, until ended.
func (s *supervisor) output(stderr bool) *outputs {
	o := &outputs{s.journal.Output(stderr), s.viewers.Output(stderr)}
	s.outputs = append(s.outputs, o)
	return o
}

// ended logs unfinished lines, and tells those that are attached how the command ended.
func (s *supervisor) ended(code int, err error) {
	for _, o := range s.outputs {
		o.log.Close()
	}
	s.outputs = nil
	e := keeper.End{Code: code}
	if err != nil {
		e.Code, e.Error = exit.How(err, s.r.t.parsed).Code, err.Error()
	}
	s.viewers.End(e)
}

// attach has a process take part in the command, until either ends.
func (s *supervisor) attach(stream *keeper.Stream) {
	s.mu.Lock()
	cmd, stdin := s.command, s.stdin
	s.mu.Unlock()
	if cmd == nil {
		stream.Send(&keeper.Message{End: &keeper.End{Code: exit.Own, Error: errNoCommand.Error()}})
		return
	}
	leave := s.viewers.Add(stream, &keeper.Joined{Terminal: s.r.flags.tty, Stdin: stdin != nil})
	defer leave()
	typed := make(chan *keeper.Message, 16)
	defer close(typed)
	go pass(typed, stdin)
	ctx := context.Background()
	for {
		m, err := stream.Receive()
		switch {
		case err != nil:
			return
		case m.Signal == int(syscall.SIGKILL):
			cmd.Cancel(ctx)
		case m.Signal != 0:
			cmd.Signal(ctx, syscall.Signal(m.Signal)) // one that has ended is no error
		case m.Rows != 0:
			cmd.Resize(m.Rows, m.Cols)
		case stdin != nil:
			typed <- m
		}
	}
}

// pass writes what is typed to the command. A write ends with the command at the latest.
func pass(typed <-chan *keeper.Message, stdin *client.Stdin) {
	for m := range typed {
		if m.Close {
			stdin.Close()
			continue
		}
		stdin.Write(m.Stdin) // EPIPE: it reads no more
	}
}
