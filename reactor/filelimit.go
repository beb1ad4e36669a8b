package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Package syscall raises the soft limit of open descriptors to the hard one when the program starts, and remembers the old one for the
// children that it forks itself: a program that uses select(2), or closes every number there is, must not get the raised one.
var inheritedFiles, raisedFiles = fileLimits()

// fileLimits are the limits with which the program was started, and those which it has now. What was remembered is to be had in one way
// only: an Exec puts it back before it fails.
func fileLimits() (inherited, raised unix.Rlimit) {
	unix.Getrlimit(unix.RLIMIT_NOFILE, &raised)
	syscall.Exec("", nil, nil)
	unix.Getrlimit(unix.RLIMIT_NOFILE, &inherited)
	if inherited != raised {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &raised)
	}
	return inherited, raised
}

// limitForChild is the limit that a child is to get; nil for that of this process, as it is when somebody set it since.
func limitForChild() *unix.Rlimit {
	var now unix.Rlimit
	if inheritedFiles == raisedFiles || unix.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil || now != raisedFiles {
		return nil
	}
	return &inheritedFiles
}
