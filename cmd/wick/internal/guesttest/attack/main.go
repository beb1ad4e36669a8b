// Command attack is an unprivileged process of the guest that does what may hold up its agent. The
// tests put it into the machine. It runs until it is killed.
package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	attacks := map[string]func(string) error{
		"connect": connect, "lease": lease, "lock": lock, "fifo": fifo, "watch": watch, "names": names, "fault": fault,
	}
	if len(os.Args) != 3 || attacks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: attack connect CID:PORT | lease PATH | lock PATH | fifo PATH | watch DIR | names DIR | fault BYTES")
		os.Exit(2)
	}
	err := drop()
	if err == nil {
		err = attacks[os.Args[1]](os.Args[2])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// drop drops all privileges.
func drop() error {
	const nobody = 65534
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	return nil
}

// connect connects to the vsock port CID:PORT repeatedly, with a hundred connections under way at a
// time. It waits until each is made or refused. Otherwise the kernel queues packets until memory
// runs out, which is another attack.
func connect(to string) error {
	var at unix.SockaddrVM
	if _, err := fmt.Sscanf(to, "%d:%d", &at.CID, &at.Port); err != nil {
		return fmt.Errorf("address %q: %w", to, err)
	}
	var fds [100]int
	for i := range fds {
		fds[i] = -1
	}
	for i := 0; ; i = (i + 1) % len(fds) {
		if fds[i] >= 0 {
			unix.Poll([]unix.PollFd{{Fd: int32(fds[i]), Events: unix.POLLOUT}}, 1000)
			unix.Close(fds[i])
		}
		fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		fds[i] = fd
		unix.Connect(fd, &at)
	}
}
