// Command holdup is a process of the guest that tries to hold up the start of other processes. The
// tests put it into the machine.
//
//	holdup stop         stop every process that it may stop, repeatedly
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

// lease writes a program and takes a lease on it, for which each opening waits. It never gives the
// lease up.
func lease(path string) error {
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 9\n"), 0o755); err != nil {
		return err
	}
	signal.Ignore(unix.SIGIO) // with it the kernel asks for the lease
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
