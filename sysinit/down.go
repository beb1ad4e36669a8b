//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// Root is a machine that is up, or as far up as it got.
type Root struct {
	// upper is the root of the overlay disk's file system, -1 with an overlay in memory. Its mount
	// is detached, so the guest has no path to it. A guest's root user can still find it under
	// /proc/1/fd or mount the disk again. The point is that no program walks into it by accident.
	upper int
	// disk is the overlay disk itself, for the final check that it is clean; -1 as above.
	disk  int
	marks []Mark
	// nodes says where device nodes come from, for Mount.
	nodes nodes
	// zone is the time zone that the root has no file of.
	zone string
	// isUp says that the root is /, so that all other mounts of the namespace belong to it.
	isUp bool
}

// close closes the descriptors of the overlay disk. It is idempotent.
func (r *Root) close() {
	for _, fd := range [...]*int{&r.upper, &r.disk} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// Timeline returns the steps done so far, in order. The result is a copy that belongs to the
// caller.
func (r *Root) Timeline() []Mark { return append([]Mark(nil), r.marks...) }

// Writable returns the root directory of the overlay disk's file system, for callers that freeze
// it. The Root owns the descriptor and does not close it. With an overlay in memory ok is false.
func (r *Root) Writable() (fd int, ok bool) { return r.upper, r.upper >= 0 }

// Power says what happens to the machine in the end.
type Power int

const (
	// Restart resets the machine. It is the default because Firecracker exits on it on every
	// architecture.
	Restart Power = iota
	// PowerOff switches the machine off. A machine that cannot, such as Firecracker's on x86, is
	// reset, because a halted one would stay forever.
	PowerOff
	// Halt stops the machine and leaves it on.
	Halt
)

// SettleLimit is the default of Mode.Limit. It is meant to be longer than any working disk takes
// and shorter than a host waits.
const SettleLimit = 30 * time.Second

// Mode says how to go down. The zero Mode writes everything and restarts.
type Mode struct {
	Power Power
	// Limit bounds the wait for the disks; zero means SettleLimit.
	Limit time.Duration
	// Discard writes nothing. It is meant for a machine whose disks are thrown away with it.
	Discard bool
}

// Down is the last action of process 1: Settle, then Reboot. The machine goes down whether the
// disks settled or not. Down returns only if the kernel refuses to reboot, with the kernel's error.
//
// The caller must have ended all other processes, and reaped those whose exit it wants to know.
func (r *Root) Down(mode Mode, report Report) error {
	if !mode.Discard {
		limit := mode.Limit
		if limit == 0 {
			limit = SettleLimit
		}
		// The error has been reported, and nothing could be done about it any more.
		_ = r.Settle(limit, report)
	}
	return Reboot(mode.Power)
}

// Reboot ends the machine at once, without writing anything (reboot(2)). In a process namespace of
// its own it ends the namespace. Every process but 1 is refused with EPERM, because a test or a
// mistaken run must not take the workstation down.
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
