package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// sockets runs one of these commands, and reports whether there is such a command:
//
//	echo NETWORK ADDRESS   send back all bytes of each connection
//	mute NETWORK ADDRESS   accept connections and read nothing
//	notify LINE...         notify as sd_notify does, and sleep
//	tell NETWORK ADDRESS TEXT
//	                       connect, send TEXT, shut down writing, print the answer and how it ended
func sockets(args []string) (is bool, err error) {
	switch {
	case len(args) > 0 && args[0] == "notify":
		return true, notify(args[1:])
	case len(args) == 3 && (args[0] == "echo" || args[0] == "mute"):
		ln, err := net.Listen(args[1], args[2])
		if err != nil {
			return true, err
		}
		fmt.Println(ln.Addr())
		for {
			conn, err := ln.Accept()
			if err != nil {
				return true, err
			}
			if args[0] == "echo" {
				go echo(conn)
			}
		}
	case len(args) == 4 && args[0] == "tell":
		conn, err := net.Dial(args[1], args[2])
		if err != nil {
			return true, err
		}
		if _, err := io.WriteString(conn, args[3]); err != nil {
			return true, err
		}
		conn.(interface{ CloseWrite() error }).CloseWrite()
		_, err = io.Copy(os.Stdout, conn)
		return true, err
	}
	return false, nil
}

// echo copies without splice(2), whose pipes would stay open for a while.
func echo(conn net.Conn) {
	defer conn.Close()
	_, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		fmt.Println(err)
	}
}

// notify sends each line as a notification, and sleeps until a signal ends it.
func notify(lines []string) error {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
	}
	return unix.Pause()
}
