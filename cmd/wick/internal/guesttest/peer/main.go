// Command peer is a process of the guest. With a CID and a port it poses as its host: it connects
// over vsock to the agent's port, sends a ping, and prints the result. Otherwise it is the other
// end of forwarded connections. The tests put it into the machine.
package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"wick/framing"
)

func main() {
	if is, err := sockets(os.Args[1:]); is {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: peer CID PORT")
		os.Exit(2)
	}
	cid, err := strconv.ParseUint(os.Args[1], 10, 32)
	if err == nil {
		var port uint64
		if port, err = strconv.ParseUint(os.Args[2], 10, 32); err == nil {
			err = ask(uint32(cid), uint32(port))
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// ask connects, pings, and prints how many bytes arrived until the other side closed.
func ask(cid, port uint32) error {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: cid, Port: port}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// An error means that the connection was closed already, and reading shows that too.
	unix.SendmsgN(fd, framing.AppendFrame(nil, framing.TypePing, 1, nil), nil, nil, unix.MSG_NOSIGNAL)
	got := 0
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			fmt.Printf("closed after %d bytes\n", got)
			return nil
		}
		got += n
	}
}
