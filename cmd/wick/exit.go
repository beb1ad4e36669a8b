package main

import (
	"errors"

	"wick/framing/client"
)

// Exit codes of the tool itself.
const (
	exitFailed    = 1   // the guest could not do it
	exitUsage     = 2   // the command line is wrong
	exitTimedOut  = 124 // the command ran out of time
	exitTransport = 125 // the guest could not be reached, was lost, or did not run a command
)

// An exitError ends the tool with an exit code. It prints nothing if err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// commandExit returns the error that ends the tool with a command's exit code, nil for 0.
func commandExit(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code: failure(code)}
}

// failure returns the tool's exit code for a failure with the guest's code. A code outside 1 to 255
// becomes 255, so that no failure looks like a success.
func failure(code int) int {
	if code < 1 || code > 255 {
		return 255
	}
	return code
}

// exitCode returns the exit code for err, and whether err is not to be printed.
func (t *tool) exitCode(err error) (code int, silent bool) {
	if err == nil {
		return 0, true
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code, e.err == nil
	}
	if _, ok := errors.AsType[*client.AddrError](err); ok || !t.parsed {
		return exitUsage, false
	}
	if _, ok := errors.AsType[*client.RequestError](err); ok {
		return exitUsage, false // such as an invalid timeout or environment
	}
	if _, ok := errors.AsType[*client.ConnError](err); ok {
		return exitTransport, false
	}
	return exitFailed, false
}

// commandFailed returns the error of a command that could not be run. It has exit code 125, because
// the command could have exited with any low code itself.
func commandFailed(err error) error {
	if _, ok := errors.AsType[*client.RequestError](err); ok || err == nil {
		return err
	}
	return &exitError{code: exitTransport, err: err}
}
