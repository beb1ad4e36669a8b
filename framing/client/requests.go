package client

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"wick/framing"
)

// Exec is a command for [Client.Exec] and [Client.Spawn].
type Exec struct {
	// Command is a line for the guest's sh -c: any bytes but NUL.
	Command string
	// Timeout is measured in the guest from the start of the command. When it expires the command
	// and everything it started are killed. It is rounded up to milliseconds. 0 means no limit; the
	// most is 2^32-1 ms, about 49 days.
	Timeout time.Duration
	// Root runs the command as root: through sudo -n, unless the agent is root.
	Root bool
	// Env is added to the agent's own environment, as NAME=VALUE. If a name occurs twice the last
	// value counts.
	Env []string
	// Stream sends stdout as it is written, to the function of [WithOnStdout], and not with the
	// exit. The command waits while the host is slow or absent. It is only for [Client.Spawn].
	Stream bool
	// Log is the path of a file in the guest to which stdout is appended; it is then streamed too.
	// The file is created, but its directory must exist. If it cannot be written, Stderr ends with
	// a line that says so. It is only for [Client.Spawn].
	Log string
}

// Result says how a command ended.
type Result struct {
	// ExitCode is the exit status, 128+N if signal N killed the command, or 124 after a timeout. It
	// is 126 or 127, with a reason in Stderr, if the shell could not be started.
	ExitCode int
	// Stdout and Stderr are the command's output, together at most 16 MiB. If the guest left
	// something out, Stderr ends with a line that says so.
	Stdout, Stderr []byte
}

func resultOf(r *framing.ExecResult) Result {
	return Result{ExitCode: int(r.ExitCode), Stdout: r.Stdout, Stderr: r.Stderr}
}

// Ping returns the time from the request to the guest's reply.
//
// The error wraps the context's, [ErrClosed], a [*ConnError], or a [*RemoteError].
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if err := c.ask(ctx, framing.TypePong, encodePing); err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	return time.Since(start), nil
}

func encodePing(dst []byte, seq uint32) []byte {
	return framing.AppendFrame(dst, framing.TypePing, seq, nil)
}

// Shutdown makes the guest sync every file system and returns when it has. The guest keeps running,
// and the host ends the machine.
//
// The error wraps the context's, [ErrClosed], a [*ConnError], or a [*RemoteError].
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.ask(ctx, framing.TypeShutdownAck, encodeShutdown); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}

func encodeShutdown(dst []byte, seq uint32) []byte {
	return framing.AppendFrame(dst, framing.TypeShutdown, seq, nil)
}

// ask makes a request without a payload whose reply has no payload either.
func (c *Client) ask(ctx context.Context, want framing.Type, encode func([]byte, uint32) []byte) error {
	call := newCall(want)
	defer call.release()
	return c.roundTrip(ctx, call, framing.HeaderSize, encode)
}

// Exec runs a command and returns its result. The error is nil even if the command fails: see
// Result.ExitCode. If ctx ends first the command keeps running in the guest, to its end or its
// Timeout, and its result is dropped. [Client.ShellCommand] does more, with a current agent.
//
// The error wraps a [*RequestError], the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) Exec(ctx context.Context, e Exec) (*Result, error) {
	call := newCall(framing.TypeExecResult)
	defer call.release()
	if err := c.command(ctx, framing.TypeExec, &e, call); err != nil {
		return nil, err
	}
	r := resultOf(&call.result)
	return &r, nil
}

// Spawn starts a command and returns the pid of its shell. It does not wait for the end;
// [Client.WaitExit] does. If ctx ends first the command may have been started.
//
// The error wraps a [*RequestError], the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) Spawn(ctx context.Context, e Exec) (pid uint32, err error) {
	call := newCall(framing.TypeSpawnResult)
	defer call.release()
	if err := c.command(ctx, framing.TypeSpawnWatch, &e, call); err != nil {
		return 0, err
	}
	return call.pid, nil
}

// command sends an exec or a spawn_watch.
func (c *Client) command(ctx context.Context, t framing.Type, e *Exec, call *call) error {
	w, err := e.wire(t)
	if err != nil {
		return err
	}
	err = c.roundTrip(ctx, call, framing.HeaderSize+w.PayloadSize(), func(dst []byte, seq uint32) []byte {
		return framing.AppendExec(dst, t, seq, w)
	})
	if err != nil {
		return fmt.Errorf("%v: %w", t, err)
	}
	return nil
}

// wire returns e as the payload of a frame of type t. Its error is a *RequestError. The guest
// checks the rest, such as a NUL in the command.
func (e *Exec) wire(t framing.Type) (*framing.Exec, error) {
	refuse := func(format string, args ...any) (*framing.Exec, error) {
		return nil, &RequestError{Op: t.String(), Reason: fmt.Sprintf(format, args...)}
	}
	if e.Timeout < 0 {
		return refuse("timeout %v is negative", e.Timeout)
	}
	ms := int64(e.Timeout / time.Millisecond)
	if e.Timeout%time.Millisecond != 0 {
		ms++
	}
	if ms > math.MaxUint32 {
		return refuse("timeout %v is beyond %d ms", e.Timeout, uint32(math.MaxUint32))
	}
	if t != framing.TypeSpawnWatch && (e.Stream || e.Log != "") {
		return refuse("stdout comes with the result, it is neither streamed nor logged")
	}
	if len(e.Log) > framing.MaxText {
		return refuse("log path has %d bytes, a frame holds %d", len(e.Log), framing.MaxText)
	}
	w := &framing.Exec{TimeoutMS: uint32(ms), Root: e.Root, Command: []byte(e.Command), Stream: e.Stream, Log: []byte(e.Log)}
	for _, entry := range e.Env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return refuse("environment entry %q is not NAME=VALUE", entry)
		}
		w.Env.Add([]byte(name), []byte(value))
	}
	if n := w.PayloadSize(); n > framing.MaxPayload {
		return refuse("command and environment make a payload of %d bytes, a frame holds %d", n, framing.MaxPayload)
	}
	return w, nil
}
