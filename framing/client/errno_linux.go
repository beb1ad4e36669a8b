package client

import "syscall"

// guestErrno returns this system's error number for one of the guest, which is the same.
func guestErrno(n uint32) syscall.Errno { return syscall.Errno(n) }
