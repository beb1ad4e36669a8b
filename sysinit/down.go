//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// Root is a machine that is up, or as far up as it got.
type Root struct {
	// upper is the root of the overlay disk's file system, -1 with an overlay in memory. Its mount is detached: for the guest
	// there is no path to it. (A guest's root user finds it under /proc/1/fd or mounts the disk again, and deserves
	// what it gets; the point is that nobody walks into it.)
	upper int
	// disk is the overlay disk itself, to be asked in the end whether it is clean; -1 as above.
	disk  int
	marks []Mark
}

// letGo closes what it holds of the overlay disk.
func (r *Root) letGo() {
	for _, fd := range [...]*int{&r.upper, &r.disk} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// Timeline is what was done when, in order. The caller keeps it; later steps are not added to it.
func (r *Root) Timeline() []Mark { return append([]Mark(nil), r.marks...) }

// Writable is the root directory of the overlay disk's file system, for one who freezes it. The descriptor stays the Root's, which does
// not close it. There is none (false) with an overlay in memory.
func (r *Root) Writable() (fd int, ok bool) { return r.upper, r.upper >= 0 }

// Power is what happens to the machine in the end.
type Power int

const (
	// Restart resets the machine. It is the default since Firecracker leaves on it on every architecture.
	Restart Power = iota
	// PowerOff switches it off. A machine that has nothing for that, as Firecracker's on x86, is
	// reset: halted it would stay for ever.
	PowerOff
	// Halt stops the machine and leaves it on.
	Halt
)

// SettleLimit is how long the way down waits for the disks if not told otherwise. It is meant to be longer than any honest disk takes and shorter
// than a host's patience.
const SettleLimit = 30 * time.Second

// Mode is how to go down. The zero Mode writes everything and restarts.
type Mode struct {
	Power Power
	// Limit bounds the wait for the disks; zero is SettleLimit.
	Limit time.Duration
	// Discard writes nothing: for a machine whose disks are thrown away with it.
	Discard bool
}

// Down is the last thing that process 1 does: Settle, then Reboot. Whether the disks settled or not the machine goes down; it returns only
// if the kernel refuses that, with the kernel's error.
//
// All other processes are dead by then: the caller has seen to it, and has reaped what it wants to know about.
func (r *Root) Down(mode Mode, report Report) error {
	if !mode.Discard {
		limit := mode.Limit
		if limit == 0 {
			limit = SettleLimit
		}
		// Its error has been reported, and there is nobody left who could do something about it.
		_ = r.Settle(limit, report)
	}
	return Reboot(mode.Power)
}

// Reboot ends the machine at once and without writing anything (reboot(2)). In a process namespace of its own it ends that. Anybody
// but process 1 is refused with EPERM: a test or a mistaken run must not take the workstation down.
func Reboot(power Power) error {
	cmd, name := unix.LINUX_REBOOT_CMD_RESTART, "RESTART"
	switch {
	case power == PowerOff && canPowerOff():
		cmd, name = unix.LINUX_REBOOT_CMD_POWER_OFF, "POWER_OFF"
	case power == Halt:
		cmd, name = unix.LINUX_REBOOT_CMD_HALT, "HALT"
	}
	if unix.Getpid() != 1 {
		return fault("reboot", name, "", unix.EPERM, "not process 1")
	}
	if err := unix.Reboot(cmd); err != nil {
		return fault("reboot", name, "", err, "")
	}
	return nil
}
