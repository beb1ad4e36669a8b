//go:build !windows

package client

import "syscall"

// worthRetryingHere returns false: this system has no other errors of sockets.
func worthRetryingHere(syscall.Errno) bool { return false }
