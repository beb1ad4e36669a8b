package client

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"wick/framing"
)

// Receipt says how a process ended, and what it used.
type Receipt struct {
	// Reason is the kind of end.
	Reason framing.ExitReason
	// Code is what a shell would report: the exit status, 128+N after signal N, 124 after a
	// timeout, 126 or 127 if it was not started.
	Code int
	// Signal is the signal that ended it, or 0. Core says that it dumped core.
	Signal syscall.Signal
	Core   bool
	// User and System are processor time, Elapsed is time from start to end.
	User, System, Elapsed time.Duration
	// Peak is the most memory in bytes: with Tree of all processes together, otherwise of the
	// largest.
	Peak uint64
	// Tree says that the figures include all descendants, which takes Linux 6.12 in the guest.
	// Otherwise they are of the process and the children it waited for. Tree is the same for all
	// commands of a guest.
	Tree bool
	// Stdout and Stderr are how many bytes it wrote. StdoutDropped and StderrDropped are how many
	// of them were beyond Cap and dropped.
	Stdout, Stderr, StdoutDropped, StderrDropped uint64
	// Left is how many processes it left running, Killed how many of its processes were killed for
	// lack of memory.
	Left, Killed int
	// Held says that other processes still held its output when the wait for it ended; see
	// [Cmd.WaitOutput].
	Held bool
	// Victim says which process was killed for lack of memory, if the guest knows: its number,
	// name, resident memory, and the constraint by which the kernel's OOM killer chose it.
	Victim string
	// IO is what all processes together have read from block devices and written to them. It is
	// nil before [Client.CountIO], and if the guest's kernel does not count it. A write counts
	// when it reaches the device, which may be after the end. It counts for the command that wrote
	// the file first.
	IO *framing.IO
}

func receiptOf(e *framing.Exited) *Receipt {
	us := func(n uint64) time.Duration { return time.Duration(min(n, 1<<53)) * time.Microsecond }
	r := &Receipt{
		Reason: e.Reason, Code: int(e.Code), Signal: syscall.Signal(e.Signal), Core: e.Core,
		User: us(e.UserUS), System: us(e.SystemUS), Elapsed: us(e.ElapsedUS), Peak: e.Peak, Tree: e.Tree,
		Stdout: e.Output, Stderr: e.Errors, StdoutDropped: e.OutputDropped, StderrDropped: e.ErrorsDropped,
		Left: int(e.Left), Killed: int(e.Killed), Held: e.Held,
	}
	if e.Reason != framing.ReasonNotStarted {
		r.Victim = string(e.Message)
	}
	if e.HasIO {
		io := e.IO
		r.IO = &io
	}
	return r
}

// String says how it ended: "exit status 3", "signal: killed", "timed out".
func (r *Receipt) String() string {
	switch r.Reason {
	case framing.ReasonExited:
		return fmt.Sprintf("exit status %d", r.Code)
	case framing.ReasonSignalled:
		s := "signal: " + r.Signal.String()
		if r.Core {
			s += " (core dumped)"
		}
		return s
	case framing.ReasonTimedOut:
		return "timed out"
	case framing.ReasonCancelled:
		return "cancelled"
	case framing.ReasonOutOfMemory:
		return "out of memory"
	case framing.ReasonNotStarted:
		return "not started"
	}
	return fmt.Sprintf("ended (reason %d, code %d)", r.Reason, r.Code)
}

// err returns nil if the exit status is 0, and otherwise an error.
func (r *Receipt) err() error {
	if r.Reason == framing.ReasonExited && r.Code == 0 {
		return nil
	}
	return &ExitError{Receipt: r}
}

// An ExitError is a process that did not end with exit status 0.
type ExitError struct {
	*Receipt
	// Stderr is the beginning of its stderr, at most 32 KiB, if [Cmd.Output] was called and Stderr
	// was not set.
	Stderr []byte
	// Streams is the first error of Stdin or of a writer, or nil. It may be why the process ended
	// as it did.
	Streams error
	// Cause is the error of the context whose end cancelled it, or nil.
	Cause error
}

// Error returns the text of the receipt.
func (e *ExitError) Error() string {
	if e.Cause != nil {
		return e.String() + ": " + e.Cause.Error()
	}
	return e.String()
}

// Unwrap returns Cause.
func (e *ExitError) Unwrap() error { return e.Cause }

// A StartError is a process that the guest could not start.
type StartError struct {
	// Name is the program.
	Name string
	// Stage is where the start failed, and Errno why; errors.Is finds it.
	Stage framing.StartStage
	Errno syscall.Errno
	// Message is the guest's text, and may be empty.
	Message string
	// Code is what a shell would have exited with, 126 or 127.
	Code int
}

// Error reads "start NAME: " and the guest's reason.
func (e *StartError) Error() string {
	if e.Message != "" {
		return "start " + e.Name + ": " + e.Message
	}
	return "start " + e.Name + ": " + e.Errno.Error()
}

// Unwrap returns Errno.
func (e *StartError) Unwrap() error { return e.Errno }

// Is reports that a program that does not exist is [exec.ErrNotFound], as it is for a program of
// this host.
func (e *StartError) Is(target error) bool {
	return target == exec.ErrNotFound && e.Stage == framing.StageExec && e.Errno == syscall.ENOENT
}
