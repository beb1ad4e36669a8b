//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime is the time since the kernel started, suspension included.
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// pause sleeps in the kernel on this very thread: a sleep of the runtime's would wake a second one.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	// A signal cuts it short, which is as good: every caller looks again.
	unix.Nanosleep(&t, nil)
}
