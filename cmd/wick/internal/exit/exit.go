package exit

import (
	"errors"

	"wick/framing/client"
)

// Exit codes of the tool itself.
const (
	Failed   = 1   // the guest could not do it
	TimedOut = 124 // the command ran out of time
	// Own says that the command line is wrong, or that the guest could not be reached, was lost, or
	// did not run a command.
	Own = 125
)

// An Error ends the tool with an exit code. It prints nothing if Err is nil.
type Error struct {
	Code  int
	Err   error
	Usage bool // the command line is wrong
}

// Usage returns the error of a wrong command line.
func Usage(err error) error { return &Error{Code: Own, Err: err, Usage: true} }

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// OfCommand returns the error that ends the tool with a command's exit code, nil for 0.
func OfCommand(code int) error {
	if code == 0 {
		return nil
	}
	return &Error{Code: Failure(code)}
}

// Failure returns the tool's exit code for a failure with the guest's code. A code outside 1 to 255
// becomes 255, so that no failure looks like a success.
func Failure(code int) int {
	if code < 1 || code > 255 {
		return 255
	}
	return code
}

// How returns how the tool ends with err, which is not nil. parsed says that the command line was
// valid, and began to run.
func How(err error, parsed bool) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	_, address := errors.AsType[*client.AddrError](err)
	_, request := errors.AsType[*client.RequestError](err) // such as an invalid timeout
	if address || request || !parsed {
		return &Error{Code: Own, Err: err, Usage: true}
	}
	if _, ok := errors.AsType[*client.ConnError](err); ok {
		return &Error{Code: Own, Err: err}
	}
	return &Error{Code: Failed, Err: err}
}

// NotRun returns the error of a command that could not be run. It has exit code 125, because the
// command could have exited with any low code itself.
func NotRun(err error) error {
	if _, ok := errors.AsType[*client.RequestError](err); ok || err == nil {
		return err
	}
	return &Error{Code: Own, Err: err}
}
