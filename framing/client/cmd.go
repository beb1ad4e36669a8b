package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"wick/framing"
)

const (
	// DefaultWindow is how much of each of stdout and stderr may be under way to a slow reader, in bytes.
	DefaultWindow = 256 << 10
	// MaxKeptWindow is the most of it for a kept process: what the guest holds for an attach.
	MaxKeptWindow = 64 << 10
)

// KeepForEver is the Keep of a process that waits for an attach without limit.
const KeepForEver time.Duration = math.MaxInt64

// WaitForEnd is the WaitOutput of a process whose output is waited for until its end.
const WaitForEnd time.Duration = math.MaxInt64

// defaultWait is the WaitOutput that a process has without one.
const defaultWait = 100 * time.Millisecond

// Modes are the modes of a terminal, by Linux's numbers; termios(3).
type Modes = framing.Modes

// Size is a terminal's, in characters.
type Size struct{ Rows, Cols uint16 }

// Limit is a resource limit, by its RLIMIT_ number.
type Limit = framing.Limit

// Unlimited is the value of a [Limit] that is none.
const Unlimited uint64 = math.MaxUint64

// Cmd is a process in the guest, much like that of os/exec. Set the fields, then call [Cmd.Run], or [Cmd.Start] and [Cmd.Wait]; it cannot be used again.
//
// Its methods may be called by any number of goroutines, once Start has returned.
type Cmd struct {
	// Args are the program, as a path or a name that is looked for along the PATH, and its arguments. With Shell there is one, a line for sh -c.
	Args  []string
	Shell bool
	// Env is added to the agent's own environment, as NAME=VALUE; with OnlyEnv it is all of the environment.
	Env     []string
	OnlyEnv bool
	// Dir is the working directory; empty is the agent's own.
	Dir string
	// User is "name" or "uid", with ":group" or ":gid" behind it or not; empty is the agent's own.
	User string
	// Limits are set before the program starts.
	Limits []Limit
	// Timeout counts in the guest; when it runs out the process and all that it started are killed. It is rounded up to milliseconds; 0 is none.
	Timeout time.Duration
	// Keep is how long the process, and what it wrote, are kept after its connection was lost, for [Cmd.Reattach] or [Client.Attach]. With 0 it is
	// killed then. It is rounded up to milliseconds.
	Keep time.Duration
	// Cap is how many bytes of each of stdout and stderr are sent before output is dropped; 0 is all. It bounds what [Cmd.Output] holds, whatever the guest is.
	Cap uint64
	// Window is how much of each of stdout and stderr may be under way, in bytes: what a reader that is slow costs this side in memory, and beyond
	// which the process waits. 0 is DefaultWindow. A kept process has at most MaxKeptWindow.
	Window int

	// Stdin, if not nil, is read until its end, or until an error. Wait does not wait for a Read that blocks. Without Stdin and
	// StdinPipe the process reads /dev/null.
	Stdin io.Reader
	// Stdout and Stderr, if not nil, get what the process writes. Without them, and without a pipe, it is dropped. If both are the same writer they are merged.
	// A writer that fails has the process get SIGPIPE when it writes more.
	Stdout, Stderr io.Writer
	// Merge has stderr go where stdout goes, in the order it was written.
	Merge bool
	// Terminal, if not nil, gives the process a new terminal of that size for stdin, stdout and stderr. Its output is Stdout.
	Terminal *Size
	// Modes, if not nil, are the terminal's. A guest that cannot set them gives it those of a new one.
	Modes *Modes
	// WaitOutput is how long output is waited for after the process's exit, while other processes hold it, within Timeout. 0 is
	// 100 ms, and WaitForEnd is until its end. It is rounded up to milliseconds.
	WaitOutput time.Duration

	c       *Client
	ctx     context.Context // of Start
	p       *process        // nil before Start
	inPipe  *Stdin
	outPipe *Stdout
	errPipe *Stdout
}

// Command is the program name with the given arguments.
func (c *Client) Command(name string, args ...string) *Cmd {
	return &Cmd{c: c, Args: append([]string{name}, args...)}
}

// ShellCommand is a line for the guest's sh -c.
func (c *Client) ShellCommand(line string) *Cmd {
	return &Cmd{c: c, Args: []string{line}, Shell: true}
}

// String is the command as a person reads it.
func (cmd *Cmd) String() string { return strings.Join(cmd.Args, " ") }

// ID is the number by which the guest knows the process, as it is for [Client.Attach]. It is 0 before Start.
func (cmd *Cmd) ID() uint64 {
	if cmd.p == nil {
		return 0
	}
	return cmd.p.id
}

// PID is the process's in the guest, and 0 before it has started.
func (cmd *Cmd) PID() uint32 {
	if cmd.p == nil {
		return 0
	}
	cmd.p.mu.Lock()
	defer cmd.p.mu.Unlock()
	return cmd.p.pid
}

// Receipt is how the process ended, or nil if it is not known to have ended.
func (cmd *Cmd) Receipt() *Receipt {
	if cmd.p == nil {
		return nil
	}
	cmd.p.mu.Lock()
	defer cmd.p.mu.Unlock()
	return cmd.p.receipt
}

// window is the one of each output.
func (cmd *Cmd) window() int {
	window := cmd.Window
	if window == 0 {
		window = DefaultWindow
	}
	if cmd.Keep > 0 {
		window = min(window, MaxKeptWindow)
	}
	return window
}

// hasStdin reports whether the process reads anything from here.
func (cmd *Cmd) hasStdin() bool { return cmd.Stdin != nil || cmd.inPipe != nil }

// features are what the guest must have.
func (cmd *Cmd) features() Features {
	f := framing.FeatureProcesses
	if cmd.Terminal != nil {
		f |= framing.FeatureTerminals
	}
	if cmd.WaitOutput != 0 {
		f |= framing.FeatureManners
	}
	return f
}

// more adds what only a guest with FeatureManners knows.
func (cmd *Cmd) more(s *framing.Start) error {
	s.More = true
	wait, ok := milliseconds(cmp.Or(cmd.WaitOutput, defaultWait))
	if cmd.WaitOutput == WaitForEnd {
		wait, ok = framing.WaitForEnd, true
	}
	if !ok {
		return &RequestError{Op: "start", Reason: fmt.Sprintf("wait for output of %v is outside 0..%d ms", cmd.WaitOutput, uint32(math.MaxUint32-1))}
	}
	if s.WaitMS = wait; cmd.Modes != nil && s.Terminal {
		s.Modes = *cmd.Modes
	}
	return nil
}

// wire returns cmd as it goes into a frame, but for the credit. Its error is a *RequestError. What only the guest need judge is left to it.
func (cmd *Cmd) wire(id uint64) (*framing.Start, error) {
	refuse := func(format string, args ...any) (*framing.Start, error) {
		return nil, &RequestError{Op: "start", Reason: fmt.Sprintf(format, args...)}
	}
	s := &framing.Start{
		ID: id, Shell: cmd.Shell, Stdin: cmd.hasStdin(), Terminal: cmd.Terminal != nil, Merge: cmd.merged(), Only: cmd.OnlyEnv, Cap: cmd.Cap,
		User: []byte(cmd.User), Dir: []byte(cmd.Dir),
	}
	if cmd.Terminal != nil {
		s.Rows, s.Columns = cmd.Terminal.Rows, cmd.Terminal.Cols
	}
	var ok bool
	if s.TimeoutMS, ok = milliseconds(cmd.Timeout); !ok {
		return refuse("timeout %v is outside 0..%d ms", cmd.Timeout, uint32(math.MaxUint32))
	}
	if cmd.Keep == KeepForEver {
		s.KeepMS = framing.KeepForEver
	} else if s.KeepMS, ok = milliseconds(cmd.Keep); !ok || s.KeepMS == framing.KeepForEver {
		return refuse("keep %v is outside 0..%d ms", cmd.Keep, uint32(framing.KeepForEver-1))
	}
	switch {
	case len(cmd.Args) == 0, cmd.Shell && len(cmd.Args) != 1:
		return refuse("no command")
	case cmd.Window < 0 || int64(cmd.Window) > math.MaxUint32:
		return refuse("window of %d bytes", cmd.Window)
	case len(cmd.User) > framing.MaxText, len(cmd.Dir) > framing.MaxText:
		return refuse("a user and a directory have at most %d bytes", framing.MaxText)
	case len(cmd.Limits) > 255:
		return refuse("%d limits, a frame holds 255", len(cmd.Limits))
	}
	for _, arg := range cmd.Args {
		s.Args.Add(arg)
	}
	for _, entry := range cmd.Env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return refuse("environment entry %q is not NAME=VALUE", entry)
		}
		s.Env.Add([]byte(name), []byte(value))
	}
	for _, limit := range cmd.Limits {
		s.Limits.Add(limit)
	}
	if n := s.PayloadSize(); n > framing.MaxPayload {
		return refuse("command and environment make a payload of %d bytes, a frame holds %d", n, framing.MaxPayload)
	}
	return s, nil
}

// milliseconds rounds d up, and reports whether it fits.
func milliseconds(d time.Duration) (ms uint32, ok bool) {
	n := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		n++
	}
	return uint32(n), d >= 0 && n <= math.MaxUint32
}

// merged reports whether stderr goes where stdout goes.
func (cmd *Cmd) merged() bool {
	return cmd.Merge || cmd.Stdout != nil && cmd.Stderr != nil && sameWriter(cmd.Stdout, cmd.Stderr)
}

// sameWriter reports whether a and b are one. Writers that cannot be compared are two.
func sameWriter(a, b io.Writer) bool {
	defer func() { recover() }()
	return a == b
}

// newID makes an id that no other process has, as far as chance goes.
func newID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}
