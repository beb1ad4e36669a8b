package client

import (
	"io"
	"io/fs"
)

// Stdin is the pipe to a process's stdin; see [Cmd.StdinPipe].
type Stdin struct{ cmd *Cmd }

// StdinPipe returns a pipe to the process's stdin. Call it before Start, instead of setting Stdin.
func (cmd *Cmd) StdinPipe() (*Stdin, error) {
	if cmd.p != nil || cmd.Stdin != nil || cmd.inPipe != nil {
		return nil, &RequestError{Op: "start", Reason: "stdin is set already"}
	}
	cmd.inPipe = &Stdin{cmd}
	return cmd.inPipe, nil
}

// Write sends p, and returns when all of it has been sent or is held until the process reads. The
// error is EPIPE if the process reads no more. If the connection ended it is that of [Cmd.Wait].
// Then [Cmd.Reattach] sends what of the first n bytes did not arrive, and the caller must write the
// rest again.
func (s *Stdin) Write(p []byte) (n int, err error) {
	if s.cmd.p == nil {
		return 0, fs.ErrClosed
	}
	return s.cmd.p.in.write(p)
}

// Close ends the stream after what was written.
func (s *Stdin) Close() error {
	if s.cmd.p != nil {
		s.cmd.p.in.end()
	}
	return nil
}

// Stdout is the pipe from a process's stdout or stderr; see [Cmd.StdoutPipe]. It is for one
// goroutine at a time.
type Stdout struct {
	cmd  *Cmd
	errs bool
}

// StdoutPipe returns a pipe from the process's stdout. Call it before Start, instead of setting
// Stdout. While it is not read the process waits, and so does [Cmd.Wait]. Content that has arrived
// can still be read after that.
func (cmd *Cmd) StdoutPipe() (*Stdout, error) {
	if cmd.p != nil || cmd.Stdout != nil || cmd.outPipe != nil {
		return nil, &RequestError{Op: "start", Reason: "stdout is set already"}
	}
	cmd.outPipe = &Stdout{cmd: cmd}
	return cmd.outPipe, nil
}

// StderrPipe is StdoutPipe for stderr. With Merge or a terminal it is empty.
func (cmd *Cmd) StderrPipe() (*Stdout, error) {
	if cmd.p != nil || cmd.Stderr != nil || cmd.errPipe != nil {
		return nil, &RequestError{Op: "start", Reason: "stderr is set already"}
	}
	cmd.errPipe = &Stdout{cmd: cmd, errs: true}
	return cmd.errPipe, nil
}

// inbox returns the inbox it reads from, or nil.
func (s *Stdout) inbox() *inbox {
	switch {
	case s.cmd.p == nil:
		return nil
	case s.errs:
		return s.cmd.p.errs
	}
	return s.cmd.p.out
}

// Read returns io.EOF at the end. If the connection ended the error is that of [Cmd.Wait]; after
// [Cmd.Reattach] reading goes on.
func (s *Stdout) Read(p []byte) (int, error) {
	if b := s.inbox(); b != nil {
		return b.Read(p)
	}
	return 0, io.EOF
}

// WriteTo implements io.WriterTo.
func (s *Stdout) WriteTo(w io.Writer) (int64, error) {
	if b := s.inbox(); b != nil {
		return b.WriteTo(w)
	}
	return 0, nil
}

// Close drops what has arrived and tells the guest that no more is wanted: the process gets SIGPIPE
// if it writes more.
func (s *Stdout) Close() error {
	if b := s.inbox(); b != nil {
		b.drain(true)
	}
	return nil
}
