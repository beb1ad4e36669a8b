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
	// DefaultWindow is how many bytes of each of stdout and stderr may be in flight to a slow
	// reader.
	DefaultWindow = 256 << 10
	// MaxKeptWindow is the largest window of a kept process: what the guest holds for an attach, in
	// bytes.
	MaxKeptWindow = 64 << 10
)

// KeepForEver is the Keep of a process that waits for an attach without limit.
const KeepForEver time.Duration = math.MaxInt64

// WaitForEnd is the WaitOutput of a process whose output is read to its end, however long that
// takes.
const WaitForEnd time.Duration = math.MaxInt64

// defaultWait is the WaitOutput of a process that sets none.
const defaultWait = 100 * time.Millisecond

// Modes are the modes of a terminal, by Linux's numbers; see termios(3).
type Modes = framing.Modes

// Size is the size of a terminal in characters.
type Size struct{ Rows, Cols uint16 }

// Limit is a resource limit, by its RLIMIT_ number.
type Limit = framing.Limit

// Unlimited is the value of a [Limit] that does not limit anything.
const Unlimited uint64 = math.MaxUint64

// Cmd is a process in the guest, much like that of os/exec. Set the fields, then call [Cmd.Run], or
// [Cmd.Start] and [Cmd.Wait]. It cannot be used again.
//
// Once Start has returned, any number of goroutines may call its methods.
type Cmd struct {
	// Args has the program, as a path or a name to look up in PATH, and its arguments. With Shell
	// it has one element, a line for sh -c.
	Args  []string
	Shell bool
	// Env is added to the agent's own environment, as NAME=VALUE. With OnlyEnv it is the whole
	// environment.
	Env     []string
	OnlyEnv bool
	// Dir is the working directory. Empty means the agent's.
	Dir string
	// User is "name" or "uid", optionally followed by ":group" or ":gid". Empty means the agent's.
	User string
	// Limits are set before the program starts.
	Limits []Limit
	// Timeout is measured in the guest. When it expires the process and everything it started are
	// killed. It is rounded up to milliseconds; 0 means no limit.
	Timeout time.Duration
	// Keep is how long the process and its output are kept after its connection is lost, for
	// [Cmd.Reattach] or [Client.Attach]. With 0 the process is killed at once. It is rounded up to
	// milliseconds.
	Keep time.Duration
	// Loose lets a process with Keep go on while it is not attached, however much it writes. The
	// guest then holds the newest 64 KiB of each output. [Receipt] counts what was dropped.
	Loose bool
	// Cap is how many bytes of each of stdout and stderr are sent before output is dropped; 0 means
	// no limit. It bounds what [Cmd.Output] holds, even if the guest is hostile.
	Cap uint64
	// Window is how many bytes of each of stdout and stderr may be in flight. It bounds the memory
	// that a slow reader costs this side; beyond it the process waits. 0 means DefaultWindow. A
	// kept process has at most MaxKeptWindow.
	Window int

	// Stdin, if not nil, is read until its end or an error. Wait does not wait for a Read that
	// blocks. Without Stdin and StdinPipe the process reads /dev/null.
	Stdin io.Reader
	// Stdout and Stderr, if not nil, get the process's output. Without them and without a pipe it
	// is dropped. If both are the same writer they are merged. After a writer has failed the
	// process gets SIGPIPE when it writes more.
	Stdout, Stderr io.Writer
	// Merge sends stderr to stdout, in the order it was written.
	Merge bool
	// Terminal, if not nil, gives the process a new terminal of that size for stdin, stdout and
	// stderr. Its output goes to Stdout.
	Terminal *Size
	// Modes, if not nil, are the terminal's modes. A guest that cannot set them uses those of a new
	// terminal.
	Modes *Modes
	// WaitOutput is how long output is awaited after the process's exit while other processes hold
	// it, within Timeout. 0 means 100 ms, and WaitForEnd until its end. It is rounded up to
	// milliseconds.
	WaitOutput time.Duration
	// Confinement, if it has an entry, restricts what the process sees and may do.
	Confinement framing.Confinement

	c       *Client
	ctx     context.Context // of Start
	p       *process        // nil before Start
	inPipe  *Stdin
	outPipe *Stdout
	errPipe *Stdout
}

// Command returns the command of a program with the given arguments.
func (c *Client) Command(name string, args ...string) *Cmd {
	return &Cmd{c: c, Args: append([]string{name}, args...)}
}

// ShellCommand returns the command of a line for the guest's sh -c.
func (c *Client) ShellCommand(line string) *Cmd {
	return &Cmd{c: c, Args: []string{line}, Shell: true}
}

// String returns the command for display.
func (cmd *Cmd) String() string { return strings.Join(cmd.Args, " ") }

// ID returns the number by which the guest and [Client.Attach] know the process. It is 0 before
// Start.
func (cmd *Cmd) ID() uint64 {
	if cmd.p == nil {
		return 0
	}
	return cmd.p.id
}

// PID returns the process's pid in the guest, 0 before it has started.
func (cmd *Cmd) PID() uint32 {
	if cmd.p == nil {
		return 0
	}
	cmd.p.mu.Lock()
	defer cmd.p.mu.Unlock()
	return cmd.p.pid
}

// Receipt returns how the process ended, or nil if it is not known to have ended.
func (cmd *Cmd) Receipt() *Receipt {
	if cmd.p == nil {
		return nil
	}
	cmd.p.mu.Lock()
	defer cmd.p.mu.Unlock()
	return cmd.p.receipt
}

// window returns the window of each output.
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

// hasStdin reports whether the process reads from this side.
func (cmd *Cmd) hasStdin() bool { return cmd.Stdin != nil || cmd.inPipe != nil }

// features returns the features that the guest must have.
func (cmd *Cmd) features() Features {
	f := framing.FeatureProcesses
	if cmd.Terminal != nil {
		f |= framing.FeatureTerminals
	}
	if cmd.WaitOutput != 0 {
		f |= framing.FeatureManners
	}
	if cmd.Loose {
		f |= framing.FeatureLook
	}
	if cmd.Confinement.Any() {
		f |= framing.FeatureManners | framing.FeatureConfine
	}
	return f
}

// more sets the fields that only a guest with FeatureManners knows.
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

// wire returns cmd as the payload of a start, without the credit. Its error is a *RequestError. The
// guest checks the rest.
func (cmd *Cmd) wire(id uint64) (*framing.Start, error) {
	refuse := func(format string, args ...any) (*framing.Start, error) {
		return nil, &RequestError{Op: "start", Reason: fmt.Sprintf(format, args...)}
	}
	s := &framing.Start{
		ID: id, Shell: cmd.Shell, Stdin: cmd.hasStdin(), Terminal: cmd.Terminal != nil, Merge: cmd.merged(), Only: cmd.OnlyEnv, Loose: cmd.Loose, Cap: cmd.Cap,
		User: []byte(cmd.User), Dir: []byte(cmd.Dir), Confinement: cmd.Confinement,
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

// sameWriter reports whether a and b are the same. Writers that cannot be compared are not.
func sameWriter(a, b io.Writer) bool {
	defer func() { recover() }()
	return a == b
}

// newID returns a random id that is not 0.
func newID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}
