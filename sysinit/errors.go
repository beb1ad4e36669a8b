//go:build linux

package sysinit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// StepError is why a step failed. It prints as
//
//	overlay disk: mount /dev/vdb on rw: invalid argument: the device is empty (not formatted)
type StepError struct {
	// Step is the name of the step.
	Step string
	// Op is what was tried, "mount".
	Op string
	// Object is what it was tried on, and Target where it was to go; either may be empty.
	Object, Target string
	// Errno is the kernel's answer. Zero: the kernel had no objection, we have; Hint says which.
	Errno syscall.Errno
	// Hint is what we found when we looked, or what to do; it may be empty.
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

// Unwrap is the errno, so that errors.Is(err, unix.ENOSPC) works.
func (e *StepError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// fault is a StepError that does not know its step yet; the runner of the table adds it. Inlined in all steps it would be 7 kB.
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

// lacks is the hint for an ENODEV of mount(2) and fsopen(2), whose "no such device" means the file system type. For a block
// device the kernel says ENXIO, ENOENT or ENOTBLK.
func lacks(err error, kind string) string {
	if err == unix.ENODEV {
		return "unknown file system: the kernel lacks " + kind
	}
	return ""
}
