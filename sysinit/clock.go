//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime returns the time since the kernel started, including suspension.
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// pause sleeps in the kernel on this thread. A sleep by the Go runtime would wake a second one.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	// A signal may cut it short. Every caller checks again.
	unix.Nanosleep(&t, nil)
}
