package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockError is how far one clock is ahead of CLOCK_REALTIME. Between two readings of the latter nothing else is done, so the error of this is
// the time of a system call.
func clockError(id int32) (ahead time.Duration, ok bool) {
	var before, other, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &before) != nil || unix.ClockGettime(id, &other) != nil ||
		unix.ClockGettime(unix.CLOCK_REALTIME, &after) != nil {
		return 0, false
	}
	return time.Duration(other.Nano() - (before.Nano()+after.Nano())/2), true
}

// setClock sets CLOCK_REALTIME to nanoseconds since 1970. The agent's timers count another clock's time, which goes on.
func setClock(ns uint64) error {
	t := unix.Timespec{Sec: int64(ns / 1e9), Nsec: int64(ns % 1e9)}
	return wrapOp("clock_settime", "CLOCK_REALTIME", unix.ClockSettime(unix.CLOCK_REALTIME, &t))
}

// maxPTP is how many PTP clocks are looked at.
const maxPTP = 8

// openHostClock opens the PTP clock that tells the hypervisor's time, ptp_kvm's: its clock_gettime asks the host. -1 if there is none. The clock
// is known by unix.FdToClockID.
func openHostClock() (fd int) {
	var buf [64]byte
	for i := range maxPTP {
		if name := "ptp" + num(i); readText("/sys/class/ptp/"+name+"/clock_name", buf[:]) == "KVM virtual PTP" {
			if fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				return fd
			}
		}
	}
	return -1
}
