package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/framing"
	"wick/framing/client"
)

// defaultSize is the size of a guest's terminal if wick has no terminal.
var defaultSize = client.Size{Rows: 24, Cols: 80}

// A looker passes output on until its reader is gone. Then it tells so, and takes no more: what it
// does not take stays in the guest.
type looker struct {
	w    io.Writer
	gone func()
}

func (l *looker) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		l.gone()
		select {} // an error would close the command's output
	}
	return n, err
}

// A session is a command in the guest that uses the tool's streams.
type session struct {
	t     *tool
	cmd   *client.Cmd
	stdin bool // stdin is passed on
	tty   bool // the command has a terminal
	usage bool // what the command used is printed at its end
	start func(context.Context) error
	term  *terminal.Terminal
	modes *client.Modes      // of the tool's terminal before it was raw, or nil
	conn  *client.Client     // the last connection that again made, or nil
	since time.Time          // when conn was made
	keys  *terminal.Keyboard // of a kept command, or nil
	// left is closed when the user types the detach keys.
	left chan struct{}
	// closed is closed when the reader of the output is gone, of a command that is looked at.
	closed chan struct{}
	kept   bool // wick can leave it running
	// looking: wick only looks at the command, which goes on when wick ends.
	looking bool
}

// comeBack returns the command line that attaches to the command again.
func (s *session) comeBack() string {
	if name, of := strings.CutPrefix(s.t.to, machineForm); of {
		return fmt.Sprintf("wick attach %s %016x", name, s.cmd.ID())
	}
	if s.t.to != os.Getenv("WICK_TO") {
		return fmt.Sprintf("wick --to %s attach %016x", shellQuote(s.t.to), s.cmd.ID())
	}
	return fmt.Sprintf("wick attach %016x", s.cmd.ID())
}

// newSession returns a session for a command that has not been started.
func (t *tool) newSession(cmd *client.Cmd, stdin, tty bool) *session {
	s := &session{t: t, cmd: cmd, stdin: stdin, tty: tty, kept: cmd.Keep > 0, left: make(chan struct{})}
	s.start = func(ctx context.Context) error {
		s.connect()
		return cmd.Start(ctx)
	}
	return s
}

// connect sets the command's streams and terminal.
func (s *session) connect() {
	// A closed stdout must not kill wick: the command in the guest gets its own SIGPIPE.
	signal.Ignore(syscall.SIGPIPE)
	s.cmd.Stdout, s.cmd.Stderr = s.t.stdout, s.t.stderr
	if s.looking {
		var leave sync.Once
		for _, w := range []*io.Writer{&s.cmd.Stdout, &s.cmd.Stderr} {
			*w = &looker{*w, func() { leave.Do(func() { close(s.closed) }) }}
		}
	}
	// Output to one file keeps its order only if it is merged in the guest.
	s.cmd.Merge = sameFile(s.t.stdout, s.t.stderr)
	if s.stdin {
		s.cmd.Stdin = s.t.stdin
		if in := s.t.keyboard(); in != nil && s.cmd.Keep > 0 {
			s.keys = terminal.NewKeyboard(terminal.UntilDetach(in, s.left))
			s.cmd.Stdin = s.keys
		}
	}
	if !s.tty {
		return
	}
	s.cmd.Terminal, s.cmd.Modes = &defaultSize, s.modes
	for _, stream := range []any{s.t.stdout, s.t.stdin} {
		if f, ok := stream.(*os.File); ok {
			if size := terminal.Size(f); size != nil {
				s.cmd.Terminal = size
			}
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

// keyboard returns stdin if it is a terminal, else nil.
func (t *tool) keyboard() *os.File {
	if in, ok := t.stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return in
	}
	return nil
}

// raw sets the mode of the terminal if its keys go to the command. With a terminal of its own the
// command gets each key; otherwise it gets lines, and the detach keys still work.
func (s *session) raw() (err error) {
	in := s.t.keyboard()
	switch {
	case in == nil || !s.stdin:
	case s.tty:
		s.term, err = terminal.Open(in, terminal.Raw, s.t.terminal.Store)
	case s.kept:
		s.term, err = terminal.Open(in, terminal.Lines, s.t.terminal.Store)
	}
	return err
}

// run runs the command to its end and returns its exit code as an error.
func (s *session) run(ctx context.Context) error {
	defer func() {
		if s.conn != nil {
			s.conn.Close()
		}
	}()
	if s.tty {
		s.modes = terminal.Modes(s.t.stdin, s.t.stdout)
	}
	// The terminal is raw before the command runs, so that keys typed at its first output are its
	// own.
	if err := s.raw(); err != nil {
		return exit.NotRun(fmt.Errorf("put the terminal into raw mode: %w", err))
	}
	defer s.term.Restore()
	if err := s.start(ctx); err != nil {
		return startFailed(s.cmd, err)
	}
	if pass := s.cmd.Signal; !s.looking {
		s.t.running.Store(&pass)
	}
	if s.term != nil && s.tty {
		s.term.Follow(s.cmd.Resize)
	}
	r, err := s.wait(ctx)
	s.t.running.Store(nil)
	if r == nil {
		s.term.Drop()
	}
	s.term.Restore()
	if errors.Is(err, errGivenUp) {
		err = fmt.Errorf("%w (if the command still runs: %s)", err, s.comeBack())
		return &exit.Error{Code: 128 + int(syscall.SIGINT), Err: err}
	}
	if errors.Is(err, errLeft) {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindLimit/2)
		s.cmd.Detach(last) // an error is ignored: the guest may be unreachable
		cancel()
		fmt.Fprintf(s.t.stderr, "\nwick: left it running: %s\n", s.comeBack())
		return nil
	}
	return s.ended(r, err)
}

// errLeft is the error of wait after the detach keys.
var errLeft = errors.New("left")

// errGivenUp is the error of wait if the user gives up while wick is attaching again.
var errGivenUp = errors.New("connection lost, given up")

// wait waits for the command's end. If the command is kept, it attaches again whenever the
// connection is lost.
func (s *session) wait(ctx context.Context) (*client.Receipt, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var givenUp chan struct{}
	if s.keys != nil {
		givenUp = s.keys.GivenUp
	}
	go func() {
		select {
		case <-s.left:
			cancel(errLeft)
		case <-s.closed:
			cancel(errLeft)
		case <-givenUp:
			cancel(errGivenUp)
		case <-ctx.Done():
		}
	}()
	for {
		r, err := s.cmd.Wait(ctx)
		if _, lost := errors.AsType[*client.ConnError](err); lost && s.cmd.Keep > 0 && ctx.Err() == nil {
			if err = s.again(ctx); err == nil {
				continue
			}
			if !errors.Is(err, syscall.ESRCH) {
				err = fmt.Errorf("%w (if the command still runs: %s)", err, s.comeBack())
			}
		}
		switch {
		case errors.Is(context.Cause(ctx), errLeft):
			return nil, errLeft
		case errors.Is(context.Cause(ctx), errGivenUp):
			return nil, errGivenUp
		case errors.Is(context.Cause(ctx), errUnresponsive):
			return r, err
		case ctx.Err() != nil && r == nil && s.looking:
			return nil, errLeft
		case ctx.Err() != nil && r == nil:
			// Wait has cancelled the command. Wait until the guest knows.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindLimit/2)
			defer cancel()
			return s.cmd.Wait(last)
		}
		return r, err
	}
}

// againPause is the age of a lost connection below which again waits before the next.
const againPause = 200 * time.Millisecond

// again attaches to the command on a new connection.
func (s *session) again(ctx context.Context) error {
	s.keys.SetAway(true)
	defer s.keys.SetAway(false)
	how := ""
	if s.keys != nil && s.term != nil && s.tty {
		how = " (Ctrl-C twice: give up)"
	}
	fmt.Fprintf(s.t.stderr, "wick: connection lost, attaching again%s\r\n", how)
	for {
		if time.Since(s.since) < againPause {
			// The last connection was lost at once, and the next may be too.
			select {
			case <-time.After(againPause):
			case <-ctx.Done():
			}
		}
		c, err := s.t.connect(ctx)
		if err != nil {
			return err
		}
		if s.conn != nil {
			s.conn.Close()
		}
		s.conn, s.since = c, time.Now()
		s.t.guest.Store(c)
		if s.usage {
			c.CountIO(ctx) // if it fails, so does the next call
		}
		err = s.cmd.Reattach(ctx, c)
		if err == nil {
			if s.term != nil && s.tty {
				s.term.Resized()
			}
			return nil
		}
		if _, lost := errors.AsType[*client.ConnError](err); !lost {
			return err
		}
	}
}

// ended returns the error with which the tool ends after the command.
func (s *session) ended(r *client.Receipt, err error) error {
	if r == nil {
		return exit.NotRun(err)
	}
	if r.Held && !s.tty {
		fmt.Fprintf(s.t.stderr, "wick: %s\n", heldBy(r.Left))
	}
	if r.Killed > 0 && r.Reason != framing.ReasonOutOfMemory {
		fmt.Fprintf(s.t.stderr, "wick: out of memory, %d processes of the command were killed%s\n", r.Killed, output.Printable(victimText(r)))
	}
	if s.usage {
		fmt.Fprintf(s.t.stderr, "wick: %s\n", usageText(r))
	}
	if own := ownFailure(err); own != nil {
		return exit.NotRun(own) // it may be the reason for the command's end
	}
	switch {
	case r.Reason == framing.ReasonTimedOut:
		return &exit.Error{Code: exit.Failure(r.Code), Err: fmt.Errorf("the command ran out of time (%v)", s.cmd.Timeout)}
	case r.Reason == framing.ReasonOutOfMemory:
		return &exit.Error{Code: exit.Failure(r.Code), Err: errors.New("the command was killed because the machine was out of memory" + victimText(r))}
	case r.Code != 0 || err == nil || errors.Is(err, syscall.EPIPE):
		return exit.OfCommand(r.Code)
	}
	return exit.NotRun(err) // of one of the tool's streams
}

// victimText says which process was killed, after a colon.
func victimText(r *client.Receipt) string {
	if r.Victim == "" {
		return ""
	}
	return ": " + r.Victim
}

// ownFailure returns the error of one of the tool's streams, or nil. A closed pipe is not an error,
// because the command in the guest gets its own SIGPIPE.
func ownFailure(err error) error {
	if exit, ok := errors.AsType[*client.ExitError](err); ok {
		err = exit.Streams
	}
	failed, ok := errors.AsType[*fs.PathError](err)
	if !ok || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return failed
}

// heldBy returns a message that says why output may be missing.
func heldBy(left int) string {
	who := fmt.Sprintf("%d processes that the command left running hold", left)
	switch left {
	case 0:
		who = "other processes hold"
	case 1:
		who = "1 process that the command left running holds"
	}
	return who + " its output; later output is lost (--wait-output waits for it)"
}

// startFailed returns the error of a command that was not started. Its exit code is that of a
// shell.
func startFailed(cmd *client.Cmd, err error) error {
	if failed, ok := errors.AsType[*client.StartError](err); ok {
		code := exit.Failure(failed.Code)
		if word := cmd.Args[0]; failed.Errno == syscall.ENOENT && len(cmd.Args) == 1 && !cmd.Shell && isLine(word) {
			line := shellQuote(word)
			err = fmt.Errorf("%w\nwick: if it is a line for the guest's shell: wick exec -c %s, or: wick exec -- sh -c %s", err, line, line)
		}
		return &exit.Error{Code: code, Err: err}
	}
	if refused, ok := errors.AsType[*client.RemoteError](err); ok && strings.HasPrefix(refused.Message, "too many kept") {
		err = fmt.Errorf("%w; wick ps --prune forgets those that have ended", err)
	}
	return exit.NotRun(err)
}

// isLine reports whether a word looks like a line for a shell.
func isLine(word string) bool { return strings.ContainsAny(word, " \t\n|&;<>()$`\"'*?") }

// detach starts the command, prints its id and leaves it running.
func (s *session) detach(ctx context.Context) error {
	// Stdin stays open for a later attach.
	if s.stdin {
		if _, err := s.cmd.StdinPipe(); err != nil {
			return exit.NotRun(err)
		}
	}
	if s.tty {
		s.cmd.Terminal = &defaultSize
	}
	// The command must survive the end of ctx.
	started := make(chan error, 1)
	go func() { started <- s.cmd.Start(context.WithoutCancel(ctx)) }()
	select {
	case err := <-started:
		if err != nil {
			return startFailed(s.cmd, err)
		}
	case <-ctx.Done():
		return exit.NotRun(fmt.Errorf("start the command: %w", ctx.Err()))
	}
	if _, err := fmt.Fprintf(s.t.stdout, "%016x\n", s.cmd.ID()); err != nil {
		return exit.NotRun(fmt.Errorf("print the command's id %016x: %w", s.cmd.ID(), err))
	}
	return nil
}
