package sys

import (
	"golang.org/x/sys/unix"
)

// OpenTrigger opens a file of pressure stall information, and sets a trigger such as "some 150000
// 1000000" (Documentation/accounting/psi.rst). The descriptor becomes exceptional (POLLPRI) at most
// once in the trigger's window, and the trigger lives as long as the descriptor.
func OpenTrigger(path, trigger string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, NewError("open", path, err)
	}
	// The kernel overwrites the last byte with a NUL.
	if _, err := unix.Write(fd, []byte(trigger+"\x00")); err != nil {
		unix.Close(fd)
		return -1, NewError("write", path, err)
	}
	return fd, nil
}
