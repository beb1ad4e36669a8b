//go:build linux

package sysinit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// StepError says why a step failed. It prints as
//
//	overlay disk: mount /dev/vdb on rw: invalid argument: the device is empty (not formatted)
type StepError struct {
	// Step is the name of the step.
	Step string
	// Op is the operation, such as "mount".
	Op string
	// Object is the operand, and Target its destination. Either may be empty.
	Object, Target string
	// Errno is the kernel's error. It is zero if our own check failed; Hint then says which.
	Errno syscall.Errno
	// Hint is a finding or a remedy. It may be empty.
	Hint string
}

func (e *StepError) Error() string {
	s := e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	if e.Target != "" {
		s += " on " + e.Target
	}
	if e.Step != "" {
		s = e.Step + ": " + s
	}
	if e.Errno != 0 {
		s += ": " + e.Errno.Error()
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap returns the errno, so that errors.Is(err, unix.ENOSPC) works.
func (e *StepError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// fault returns a StepError without its step, which the runner of the table adds. Inlined into all
// steps it would cost 7 kB.
//
//go:noinline
func fault(op, object, target string, err error, hint string) error {
	return &StepError{Op: op, Object: object, Target: target, Errno: errno(err), Hint: hint}
}

func errno(err error) syscall.Errno {
	if n, ok := err.(syscall.Errno); ok {
		return n
	}
	if err == nil {
		return 0
	}
	return unix.EIO
}

// lacks returns the hint for ENODEV from mount(2) and fsopen(2). Their "no such device" is about
// the file system type. A missing block device is ENXIO, ENOENT or ENOTBLK.
func lacks(err error, kind string) string {
	if err == unix.ENODEV {
		return "unknown file system: the kernel lacks " + kind
	}
	return ""
}
