package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wick/framing/client"
	"wick/framing/client/clienttest"
)

// startGuest starts a guest in this process and returns its address.
func startGuest(g *clienttest.Guest) (addr string, stop func()) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		panic(err)
	}
	g.Dir = dir
	path := filepath.Join(dir, "v.sock")
	if err := g.Listen(path); err != nil {
		panic(err)
	}
	return "unix:" + path, func() {
		g.Close()
		os.RemoveAll(dir)
	}
}

func Example() {
	addr, stop := startGuest(&clienttest.Guest{})
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	res, err := c.Exec(ctx, client.Exec{Command: "echo hello from $NAME; exit 3", Env: []string{"NAME=guest"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s(exit code %d)\n", res.Stdout, res.ExitCode)
	// Output:
	// hello from guest
	// (exit code 3)
}

// A machine that could not boot says why.
func ExampleDial_bootError() {
	addr, stop := startGuest(&clienttest.Guest{BootError: "mount /dev/vdb: no such device"})
	defer stop()

	_, err := client.Dial(context.Background(), addr)
	if boot, ok := errors.AsType[*client.BootError](err); ok {
		fmt.Println(boot.Message)
	}
	// Output: mount /dev/vdb: no such device
}

// A guest that connects by itself comes back after its connection was cut, as by the restore of a
// snapshot.
func ExampleListener() {
	dir, err := os.MkdirTemp("", "host-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "v.sock")
	l, err := client.Listen("firecracker-listen:" + path)
	if err != nil {
		fmt.Println(err)
		return
	}
	guest := &clienttest.Guest{}
	guest.Connect(l.Path()) // instead of Firecracker
	defer guest.Close()
	defer l.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 2 {
		c, err := l.Accept(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = c.Ping(ctx)
		fmt.Println("ping:", err)
		c.Close()
	}
	// Output:
	// ping: <nil>
	// ping: <nil>
}

func ExampleClient_WriteFile() {
	addr, stop := startGuest(&clienttest.Guest{})
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	content := "127.0.0.1 localhost\n"
	err = c.WriteFile(ctx, "etc/hosts", strings.NewReader(content), int64(len(content)), client.WriteFileOptions{})
	fmt.Println(err)
	err = c.WriteFile(ctx, "etc/", strings.NewReader(""), 0, client.WriteFileOptions{})
	fmt.Println(err)
	// Output:
	// <nil>
	// write_file etc/: open etc/: is a directory
}

func ExampleClient_Spawn() {
	addr, stop := startGuest(&clienttest.Guest{})
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	pid, err := c.Spawn(ctx, client.Exec{Command: "echo done; exit 1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	exit, err := c.WaitExit(ctx, pid)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d %q\n", exit.ExitCode, exit.Stdout)
	// Output: 1 "done\n"
}
