package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wick/framing/client/clienttest"
)

// echo is the scripts' command of that name.
func echo(ts *testscript.TestScript, _ bool, args []string) {
	address := args[1]
	if args[0] == "unix" {
		address = ts.MkAbs(address)
	}
	ln, err := net.Listen(args[0], address)
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	go serveEcho(ln)
	at := ln.Addr().String()
	ts.Setenv("ADDR", at)
	if _, port, err := net.SplitHostPort(at); err == nil {
		ts.Setenv("PORT", port)
	}
}

func serveEcho(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			text, _ := io.ReadAll(conn)
			fmt.Fprintf(conn, "got %s", text)
		}()
	}
}

// ask is the scripts' command of that name.
func ask(ts *testscript.TestScript, _ bool, args []string) {
	address := args[1]
	if args[0] == "unix" {
		address = ts.MkAbs(address)
	}
	var conn net.Conn
	var err error
	for limit := time.Now().Add(interruptLimit); ; time.Sleep(time.Millisecond) {
		if conn, err = net.Dial(args[0], address); err == nil || time.Now().After(limit) {
			break
		}
	}
	ts.Check(err)
	defer conn.Close()
	io.WriteString(conn, strings.Join(args[2:], " "))
	ts.Check(conn.(interface{ CloseWrite() error }).CloseWrite())
	answer, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) { // which is an end too
		ts.Check(err)
	}
	fmt.Fprintln(ts.Stdout(), string(answer))
}

// TestForwardAuto sees ports come and go in a network of the agent's own.
func TestForwardAuto(t *testing.T) {
	t.Parallel()
	if err := exec.Command("unshare", "-n", "true").Run(); err != nil {
		t.Skip("no network namespace can be made; run the tests as root")
	}
	for _, tool := range []string{"ip", "nsenter", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v; install iproute2, util-linux and python3", err)
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	binary, err := clienttest.AgentBinary()
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command("unshare", "-n", "sh", "-c", `ip link set lo up; exec "$0" --unix-socket "$1"`, binary, path)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { agent.Process.Kill(); agent.Wait() }()
	for limit := time.Now().Add(interruptLimit); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil || time.Now().After(limit) {
			break // it is in its network
		}
	}
	// A port that is free on this side, most likely for the time of the test.
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	auto := exec.Command("wick", "--to", "unix:"+path, "forward", "--auto")
	out, err := auto.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	auto.Stderr = os.Stderr
	if err := auto.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { auto.Process.Kill(); auto.Wait() }()
	server := exec.Command("nsenter", "-t", fmt.Sprint(agent.Process.Pid), "-n", "python3", "-m", "http.server", "--bind", "127.0.0.1", port)
	server.Dir = t.TempDir()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	expect := func(prefix string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return
			}
		}
		t.Fatalf("there is no line %q", prefix)
	}
	late := time.AfterFunc(interruptLimit, func() { auto.Process.Kill() })
	defer late.Stop()
	expect("forwarding 127.0.0.1:" + port + " ")
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "200 OK") {
		t.Errorf("%q, %v", answer, err)
	}
	conn.Close()
	server.Process.Kill()
	server.Wait()
	expect("closed 127.0.0.1:" + port)
	if _, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		t.Error("the port is still open here")
	}
}

// TestSocksCurl fetches a page through the proxy with curl, by each kind of address.
func TestSocksCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("%v; install curl", err)
	}
	dir := t.TempDir()
	a, err := clienttest.StartAgent(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	forward := exec.Command("wick", "--to", "unix:"+filepath.Join(dir, "s"), "forward", "--socks", "0")
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	forward.Stderr = os.Stderr
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { forward.Process.Kill(); forward.Wait() }()
	var proxy string
	if _, err := fmt.Fscanf(out, "forwarding %s to guest as SOCKS5 proxy\n", &proxy); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':')+1:]
	hosts := map[string]int{"127.0.0.1": 0, "localhost": 0, "guest.example": 97}
	if ln, err := net.Listen("tcp6", "[::1]:"+port); err == nil {
		hosts["[::1]"] = 0
		go http.Serve(ln, server.Config.Handler)
		defer ln.Close()
	}
	for host, want := range hosts {
		curl := exec.Command("curl", "-sS", "--max-time", "60", "-x", "socks5h://"+proxy, "http://"+host+":"+port+"/")
		got, err := curl.Output()
		if code := curl.ProcessState.ExitCode(); code != want || want == 0 && string(got) != host+":"+port {
			t.Errorf("curl %s: exit code %d, want %d; %q, %v", host, code, want, got, err)
		}
	}
}
