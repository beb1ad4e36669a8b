// Command holdup is a process of the guest that tries to hold up the start of other processes. The tests put it into the machine.
//
//	holdup stop         stop every process that may be stopped, again and again
//	holdup lease FILE   write a program, and hold a lease on it
//	holdup freeze DIR   freeze a cgroup, with itself in it
package main

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: holdup stop | lease FILE | freeze DIR")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "stop":
		fmt.Println("up")
		for {
			unix.Kill(-1, unix.SIGSTOP)
		}
	case "lease":
		err = lease(os.Args[2])
	case "freeze":
		fmt.Println("up")
		err = os.WriteFile(os.Args[2]+"/cgroup.freeze", []byte("1"), 0)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// lease writes a program whose every opening waits until the lease on it is given up, and never gives it up.
func lease(path string) error {
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 9\n"), 0o755); err != nil {
		return err
	}
	signal.Ignore(unix.SIGIO) // by which the kernel asks for it
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return err
	}
	fmt.Println("up")
	return unix.Pause()
}
