package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// At start, package syscall raises the soft limit of open descriptors to the hard limit. It
// restores the old limit in children that it forks itself. Children that this package forks need it
// too, because some programs use select(2), or close every number there is.
var inheritedFiles, raisedFiles = fileLimits()

// fileLimits returns the limits with which the program was started, and those that it has now.
// Package syscall tells the old ones in one way only: Exec restores them before it fails.
func fileLimits() (inherited, raised unix.Rlimit) {
	unix.Getrlimit(unix.RLIMIT_NOFILE, &raised)
	syscall.Exec("", nil, nil)
	unix.Getrlimit(unix.RLIMIT_NOFILE, &inherited)
	if inherited != raised {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &raised)
	}
	return inherited, raised
}

// limitForChild returns the limit for a child; nil if the child is to inherit the limit of this
// process, because it has been changed since the start.
func limitForChild() *unix.Rlimit {
	var now unix.Rlimit
	if inheritedFiles == raisedFiles || unix.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil ||
		now != raisedFiles {
		return nil
	}
	return &inheritedFiles
}
