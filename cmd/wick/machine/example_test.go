package machine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"wick/cmd/wick/machine"
	"wick/framing/client"
)

// A machine of the small default system runs a command and a file of this host.
func ExampleBoot() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	m, err := machine.Boot(ctx, machine.Config{Tmpfs: true, Options: "hostname=example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Kill()
	script := strings.NewReader("#!/bin/sh\necho \"$1 from $(hostname)\"\n")
	_, err = m.Client().WriteStream(ctx, "/bin/greet", script, client.WriteOptions{Mode: 0o755})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := m.Command("greet", "hello").Output(ctx)
	fmt.Printf("%s%v\n", out, err)
	fmt.Println(m.Stop(ctx))
	// prints:
	// hello from example
	// <nil>
	// <nil>
}

// A server in a machine is reached without a network device.
func ExampleMachine_WaitPort() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	m, err := machine.Boot(ctx, machine.Config{Tmpfs: true}) // or Image: "nginx:alpine"
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Kill()
	// A service that stays: the machine ends it.
	server := m.Client().ShellCommand(
		"mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www")
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if err := m.WaitPort(ctx, 8080); err != nil {
		fmt.Println(err)
		return
	}
	transport := &http.Transport{DialContext: m.Client().DialContext}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get("http://localhost:8080/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	fmt.Printf("%s%v\n", body, err)
	// prints:
	// served
	// <nil>
}

// Each test case gets a fresh machine of a pool, and need not wait for its boot.
func ExampleNewPool() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	pool, err := machine.NewPool(machine.Config{Tmpfs: true}, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	for _, file := range []string{"one", "two"} {
		m, err := pool.Get(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		out, err := m.Client().ShellCommand("cd /tmp; touch " + file + "; ls").Output(ctx)
		fmt.Printf("%s%v\n", out, err)
		m.Kill()
	}
	// prints:
	// one
	// <nil>
	// two
	// <nil>
}
