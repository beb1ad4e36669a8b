package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// ClockError returns how far a clock is ahead of CLOCK_REALTIME. It reads the clock between two
// readings of CLOCK_REALTIME, so it is off by the time of one system call at most.
func ClockError(id int32) (ahead time.Duration, ok bool) {
	var before, other, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &before) != nil ||
		unix.ClockGettime(id, &other) != nil ||
		unix.ClockGettime(unix.CLOCK_REALTIME, &after) != nil {
		return 0, false
	}
	return time.Duration(other.Nano() - (before.Nano()+after.Nano())/2), true
}

// SetClock sets CLOCK_REALTIME to ns nanoseconds since 1970. The loop's timers use another clock.
func SetClock(ns uint64) error {
	t := unix.Timespec{Sec: int64(ns / 1e9), Nsec: int64(ns % 1e9)}
	return Wrap("clock_settime", "CLOCK_REALTIME", unix.ClockSettime(unix.CLOCK_REALTIME, &t))
}

// maxPTP is how many PTP clocks are tried.
const maxPTP = 8

// OpenHostClock opens the PTP clock of ptp_kvm, which asks the hypervisor for the host's time. It
// returns -1 if there is no such clock. The caller owns fd; unix.FdToClockID converts it to a
// clock.
func OpenHostClock() (fd int) {
	var buf [64]byte
	for i := range maxPTP {
		name := "ptp" + Num(i)
		if ReadText("/sys/class/ptp/"+name+"/clock_name", buf[:]) == "KVM virtual PTP" {
			if fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				return fd
			}
		}
	}
	return -1
}

// Uptime returns CLOCK_BOOTTIME in microseconds, as text for the log. The clock includes time
// asleep.
func Uptime() string {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return "unknown"
	}
	return Num(t.Sec*1e6+t.Nsec/1e3) + "us"
}
