package main

import (
	"errors"

	"wick/framing/client"
)

// The exit codes that are not a command's own.
const (
	exitFailed    = 1   // the guest could not do what was asked
	exitUsage     = 2   // the command line is wrong
	exitTimedOut  = 124 // the command ran out of time
	exitTransport = 125 // the guest could not be reached, or was lost, or would not run a command
)

// An exitError ends the tool with a code of its own. Without an err it says nothing.
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

// commandExit is the end of a guest's command with the given code, which becomes the tool's. One that does not fit the 8 bits of an exit
// code becomes 255, lest a failure look like a success.
func commandExit(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code: failure(code)}
}

// failure is the tool's exit code for a guest's code of something that failed, whatever the guest says of it.
func failure(code int) int {
	if code < 1 || code > 255 {
		return 255
	}
	return code
}

// exitCode returns the exit code for what a command returned, and whether there is nothing to say about it.
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
		return exitUsage, false // a timeout or an environment that makes no sense
	}
	if _, ok := errors.AsType[*client.ConnError](err); ok {
		return exitTransport, false
	}
	return exitFailed, false
}

// commandFailed is an error of running a command, as opposed to the command's: any low code may be the command's own.
func commandFailed(err error) error {
	if _, ok := errors.AsType[*client.RequestError](err); ok || err == nil {
		return err
	}
	return &exitError{code: exitTransport, err: err}
}
