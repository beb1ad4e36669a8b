//go:build linux

package sysinit

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// dsdt is the firmware's main table. A kernel without ACPI does not have it.
const dsdt = "/sys/firmware/acpi/tables/DSDT"

// canPowerOff reports whether the machine can switch itself off. The kernel does not report it:
// reboot(2) halts a machine that cannot, and never returns. On x86 it needs ACPI's sleep state S5,
// which Firecracker lacks. An arm64 machine has PSCI.
func canPowerOff() bool { return runtime.GOARCH != "amd64" || holds(dsdt, "_S5_") }

// holds reports whether a file contains a short text.
func holds(path, text string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var buf [4096]byte
	kept := 0 // bytes of the previous piece in which the text may begin
	for {
		n, err := unix.Read(fd, buf[kept:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return false
		}
		n += kept
		for i := 0; i+len(text) <= n; i++ {
			if string(buf[i:i+len(text)]) == text {
				return true
			}
		}
		kept = copy(buf[:], buf[max(n-len(text)+1, 0):n])
	}
}
