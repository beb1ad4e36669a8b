package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// own makes and opens a file that belongs to this process.
func own(path string) (int, error) {
	if err := os.WriteFile(path, []byte("mine"), 0o666); err != nil {
		return -1, err
	}
	return unix.Open(path, unix.O_RDWR, 0)
}

// hold reports that the attack has begun, and waits.
func hold() error {
	fmt.Println("on")
	for {
		unix.Pause()
	}
}

// lease takes a lease on a file and keeps it. Opening the file then waits up to
// fs.lease-break-time.
func lease(path string) error {
	signal.Ignore(syscall.SIGIO)
	fd, err := own(path)
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return hold()
}

// lock takes both kinds of locks on a file.
func lock(path string) error {
	fd, err := own(path)
	if err != nil {
		return err
	}
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		return fmt.Errorf("flock: %w", err)
	}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return hold()
}

// fifo makes a FIFO that no process opens.
func fifo(path string) error {
	if err := unix.Mkfifo(path, 0o666); err != nil {
		return err
	}
	return hold()
}

// watch watches everything in a directory, and reads no event.
func watch(dir string) error {
	for range 50 {
		fd, err := unix.InotifyInit1(0)
		if err != nil {
			return err
		}
		if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_ALL_EVENTS); err != nil {
			return err
		}
	}
	return hold()
}

// names occupies names in a directory that the agent might use for a moment.
func names(dir string) error {
	for n := range 300 {
		name := fmt.Sprintf("%s/.wick-1-%d", dir, n)
		if err := unix.Symlink("/etc/passwd", name); err != nil {
			return err
		}
	}
	return hold()
}

// fault writes to stdout, a pipe, from memory that only this process could supply, and never does.
func fault(bytes string) error {
	var n int
	if _, err := fmt.Sscan(bytes, &n); err != nil {
		return err
	}
	fmt.Println("on")
	const userModeOnly = 1
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, userModeOnly|unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	api := struct{ api, features, ioctls uint64 }{api: 0xAA}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, 0xc018aa3f, uintptr(unsafe.Pointer(&api))); errno != 0 {
		return fmt.Errorf("UFFDIO_API: %w", errno)
	}
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	register := struct{ start, length, mode, ioctls uint64 }{uint64(uintptr(unsafe.Pointer(&memory[0]))), uint64(n), 1, 0}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, 0xc020aa00, uintptr(unsafe.Pointer(&register))); errno != 0 {
		return fmt.Errorf("UFFDIO_REGISTER: %w", errno)
	}
	for {
		if _, err := unix.Write(1, []byte("x")); err != nil {
			return err
		}
		if _, err := unix.Write(1, memory); err != unix.EFAULT {
			return fmt.Errorf("write: %v, want EFAULT", err)
		}
	}
}
