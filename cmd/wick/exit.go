package main

import (
	"errors"

	"wick/framing/client"
)

// Exit codes of the tool itself.
const (
	exitFailed   = 1   // the guest could not do it
	exitTimedOut = 124 // the command ran out of time
	// exitOwn: the command line is wrong, or the guest could not be reached, was lost, or did not
	// run a command.
	exitOwn = 125
)

// An exitError ends the tool with an exit code. It prints nothing if err is nil.
type exitError struct {
	code  int
	err   error
	usage bool // the command line is wrong
}

// usageError returns the error of a wrong command line.
func usageError(err error) error { return &exitError{code: exitOwn, err: err, usage: true} }

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

// exit returns how the tool ends with err, which is not nil.
func (t *tool) exit(err error) *exitError {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e
	}
	_, address := errors.AsType[*client.AddrError](err)
	_, request := errors.AsType[*client.RequestError](err) // such as an invalid timeout
	if address || request || !t.parsed {
		return &exitError{code: exitOwn, err: err, usage: true}
	}
	if _, ok := errors.AsType[*client.ConnError](err); ok {
		return &exitError{code: exitOwn, err: err}
	}
	return &exitError{code: exitFailed, err: err}
}

// commandFailed returns the error of a command that could not be run. It has exit code 125, because
// the command could have exited with any low code itself.
func commandFailed(err error) error {
	if _, ok := errors.AsType[*client.RequestError](err); ok || err == nil {
		return err
	}
	return &exitError{code: exitOwn, err: err}
}
