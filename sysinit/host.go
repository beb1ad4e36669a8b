//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// disarm has Ctrl-Alt-Del (Firecracker: SendCtrlAltDel) send SIGINT to process 1. The caller handles the signal.
func disarm(*machine) error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fault("reboot", "CAD_OFF", "", err, "")
	}
	return nil
}

// raiseLoopback sets lo up; the kernel gives it 127.0.0.1 and ::1 then. A kernel without a network has nothing to set
// up, and that is no fault.
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
// do: images count on it, and their ping has no rights of its own.
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

// The limits on open descriptors, of this process and of its children. The kernel starts process 1 with 1024 and 4096.
//
// The soft one is what a program gets that does not ask. It must hold an agent with some hundred commands; programs that close
// "all" descriptors up to it one by one must not notice; and select(2), which breaks at 1024, breaks only in programs
// that would otherwise be refused. Programs that do ask get the kernel's own maximum (fs.nr_open).
//
// Go raises the soft limit to the hard one for itself in package os and puts the old one back in children. A program without os is left alone,
// and a limit set here is what the children get either way (syscall.Setrlimit drops the remembered one).
const (
	nofileSoft = 10240
	nofileHard = 1 << 20
)

func nofileText() string {
	return "allow " + strconv.Itoa(nofileSoft) + " open descriptors, " + strconv.Itoa(nofileHard) + " to who asks"
}

// forbidLeases turns file leases off, unless this is a container, whose host has the setting.
func forbidLeases(*machine) error {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of the kernel's proc_ns.h
	var ns [64]byte
	if n, err := unix.Readlink("/proc/self/ns/pid", ns[:]); err != nil || string(ns[:n]) != initial {
		return nil //nolint:nilerr // without /proc this cannot be told from a container
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
		// Over fs.nr_open, or without CAP_SYS_RESOURCE: what there is has to do.
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

// The kernel's command line may say sysctl.vm.overcommit_memory=1. A Go program begins with a mapping
// of 32 MiB, which the kernel refuses by default in a machine that has less, and so process 1 would
// not start there. Programs are better refused what a machine can never give, so the default comes
// back, unless it would keep the agent's helpers from starting. Any other value is the user's choice.
const (
	overcommit = "/proc/sys/vm/overcommit_memory"
	// goMemory is the least memory of a machine, in bytes, in which the default is set.
	goMemory = 40 << 20
)

func overcommitText() string {
	return "set vm.overcommit_memory from 1 back to 0, with " + strconv.Itoa(goMemory>>20) + " MiB or more"
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
