//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// disarm makes Ctrl-Alt-Del (Firecracker's SendCtrlAltDel) send SIGINT to process 1. The caller
// handles the signal.
func disarm(*machine) error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fault("reboot", "CAD_OFF", "", err, "")
	}
	return nil
}

// raiseLoopback sets lo up; the kernel then gives it 127.0.0.1 and ::1. A kernel without a network
// is no error.
func raiseLoopback(*machine) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT {
		return nil
	}
	if err != nil {
		return fault("socket", "inet", "", err, "")
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fault("name", "lo", "", err, "")
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	if err == unix.ENODEV {
		return nil
	}
	if err == nil {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		return fault("set up", "lo", "", err, "")
	}
	return nil
}

// allowPing lets every group open the sockets that ping(8) uses, as container runtimes and systemd
// do. Images rely on it, because their ping has no privileges of its own.
func allowPing(*machine) error {
	const path = "/proc/sys/net/ipv4/ping_group_range"
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // a kernel without a network
	}
	if err == nil {
		_, err = unix.Write(fd, []byte("0 2147483647"))
		unix.Close(fd)
	}
	if err != nil {
		return fault("write", path, "", err, "")
	}
	return nil
}

// openPorts lets every user listen on the ports below 1024, as container runtimes do: images have
// servers on port 80 that run without privileges. Anything but the kernel's default stays.
func openPorts(*machine) error {
	const path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // a kernel without a network
	}
	if err == nil {
		var now [8]byte
		var n int
		if n, err = unix.Read(fd, now[:]); err == nil && string(now[:n]) == "1024\n" {
			_, err = unix.Pwrite(fd, []byte("0"), 0)
		}
		unix.Close(fd)
	}
	if err != nil {
		return fault("write", path, "", err, "")
	}
	return nil
}

// The limits on open descriptors of this process and its children. The kernel starts process 1 with
// a soft limit of 1024 and a hard one of 4096.
//
// A program that does not raise its limit gets the soft one. It must hold an agent with some
// hundred commands. Programs that close all descriptors up to it, one by one, must not notice.
// select(2) breaks at 1024 descriptors, but only in programs that the lower limit would refuse
// anyway. A program that does ask gets up to the hard limit, which is the kernel's default maximum
// (fs.nr_open).
//
// Since Go 1.21, package syscall raises the soft limit to the hard one in every program at start.
// It restores the old one in children. Setrlimit ends both: this process keeps the limits set here,
// and its children inherit them.
const (
	nofileSoft = 10240
	nofileHard = 1 << 20
)

func nofileText() string {
	return "limit open descriptors to " + strconv.Itoa(nofileSoft) +
		" (hard limit " + strconv.Itoa(nofileHard) + ")"
}

// isContainer reports whether this is a container, in which some settings belong to the host.
// Without /proc it cannot be told from one.
func isContainer() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of the kernel's proc_ns.h
	var ns [64]byte
	n, err := unix.Readlink("/proc/self/ns/pid", ns[:])
	return err != nil || string(ns[:n]) != initial
}

// forbidLeases turns file leases off, but not those of a container's host.
func forbidLeases(*machine) error {
	if isContainer() {
		return nil
	}
	const path = "/proc/sys/fs/leases-enable"
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // the kernel has no leases
	}
	if err == nil {
		_, err = unix.Write(fd, []byte("0"))
		unix.Close(fd)
	}
	if err != nil {
		return fault("write", path, "", err, "")
	}
	return nil
}

func raiseLimits(*machine) error {
	limit := unix.Rlimit{Cur: nofileSoft, Max: nofileHard}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == unix.EPERM {
		// The hard limit is above fs.nr_open, or CAP_SYS_RESOURCE is missing: keep the present one.
		if err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
			limit.Cur = min(nofileSoft, limit.Max)
			err = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		}
	}
	if err != nil {
		return fault("setrlimit", "NOFILE", "", err, "")
	}
	return nil
}

// The kernel command line may say sysctl.vm.overcommit_memory=1. A Go program begins with a mapping
// of 32 MiB. By default the kernel refuses it in a machine that has less, and process 1 would not
// start. Refusing programs memory that a machine can never give is better, so the default is set
// again. A machine too small to start the agent's helpers then keeps the 1. Any other value is the
// user's choice.
const (
	overcommit = "/proc/sys/vm/overcommit_memory"
	// goMemory is the least memory of a machine, in bytes, in which the default is set.
	goMemory = 40 << 20
)

func overcommitText() string {
	return "set vm.overcommit_memory from 1 back to 0, with " + strconv.Itoa(goMemory>>20) +
		" MiB or more"
}

func resetOvercommit(*machine) error {
	var have unix.Sysinfo_t
	if err := unix.Sysinfo(&have); err != nil {
		return fault("sysinfo", "", "", err, "")
	}
	if have.Totalram*uint64(have.Unit) < goMemory {
		return nil
	}
	fd, err := unix.Open(overcommit, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // a kernel without sysctls
	}
	if err == nil {
		var mode [2]byte
		if _, err = unix.Read(fd, mode[:]); err == nil && mode[0] == '1' {
			_, err = unix.Pwrite(fd, []byte("0"), 0)
		}
		unix.Close(fd)
	}
	if err != nil {
		return fault("write", overcommit, "", err, "")
	}
	return nil
}
