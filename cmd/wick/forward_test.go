package main

import (
	"bufio"
	"context"
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

// TestParseForward reads what users write.
func TestParseForward(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text    string
		reverse bool
		want    string // or the error
	}{
		{"8080:80", false, "127.0.0.1:8080 localhost:80"},
		{"8080:udp:53", false, "UDP is not forwarded, only TCP and Unix sockets are"},
		{"8080:53/udp", false, "UDP is not forwarded, only TCP and Unix sockets are"},
		{"8080:db.internal:80", false, `"db.internal" is not an IP address or localhost`},
		{"256.0.0.1:8080:80", false, `"256.0.0.1" is not an IP address or localhost`},
		{"3128:proxy.example:3128", true, "localhost:3128 proxy.example:3128"},
		{"db.internal:3128:3128", true, `"db.internal" is not an IP address or localhost`},
		{"8080", false, "127.0.0.1:8080 localhost:8080"},
		{"0:80", false, "127.0.0.1:0 localhost:80"},
		{"0.0.0.0:8080:80", false, "0.0.0.0:8080 localhost:80"},
		{"[::1]:8080:80", false, "[::1]:8080 localhost:80"},
		{"8080:10.0.0.2:80", false, "127.0.0.1:8080 10.0.0.2:80"},
		{"8080:[fd00::1]:80", false, "127.0.0.1:8080 [fd00::1]:80"},
		{"8080:unix:/run/a", false, "127.0.0.1:8080 unix:/run/a"},
		{"8080:/run/a", false, "127.0.0.1:8080 unix:/run/a"},
		{"8080:@name", false, "127.0.0.1:8080 unix:@name"},
		{"unix:here:unix:/there", false, "unix:here unix:/there"},
		{"/run/agent.sock:/tmp/agent.1", true, "unix:/run/agent.sock unix:/tmp/agent.1"},
		{"3128", true, "localhost:3128 localhost:3128"},
		{"3128:proxy.example:8080", true, "localhost:3128 proxy.example:8080"},
		{"0.0.0.0:3128:8080", true, "0.0.0.0:3128 localhost:8080"},
		{"", false, "is not a port"},
		{":80", false, "is not a port"},
		{"8080:", false, "the other end is missing"},
		{"/run/agent.sock:", true, "the other end is missing"},
		{"65536:80", false, `port "65536" is not`},
		{"80:65536", false, `port "65536" is not`},
		{"99999999999999999999:80", false, "is not a number of 0 to 65535"},
		{"80:0", false, "port 0"},
		{"80:x:y", false, `port "y" is not`},
		{"80:81:82", false, `"82" is left over`},
		{"-1:80", false, "the other end is missing"},
		{"unix::80", false, "path is missing"},
		{"[::1:80:80", false, "in brackets"},
		{"8080:80/udp", false, "UDP is not forwarded"},
	} {
		f, err := parseForward(test.text, defaultBind, test.reverse)
		got := f.from.String() + " " + f.to.String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("parseForward(%q) = %q, want %q", test.text, got, test.want)
		}
	}
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

// TestSocks plays clients of SOCKS5.
func TestSocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, says, want, dialed string }{
		{"a name", "\x05\x01\x00" + "\x05\x01\x00\x03\x09localhost\x00\x50", "\x05\x00" + "\x05\x00", "localhost:80"},
		{"IPv4", "\x05\x02\x02\x00" + "\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x00", "127.0.0.1:8080"},
		{"IPv6", "\x05\x01\x00" + "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", "\x05\x00" + "\x05\x00", "[::1]:80"},
		{"authentication", "\x05\x01\x02", "\x05\xff", ""},
		{"bind", "\x05\x01\x00" + "\x05\x02\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x07", ""},
		{"udp", "\x05\x01\x00" + "\x05\x03\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x07", ""},
		{"address type", "\x05\x01\x00" + "\x05\x01\x00\x02", "\x05\x00" + "\x05\x08", ""},
		{"version 4", "\x04\x01\x00", "", ""},
		{"nothing", "", "", ""},
	} {
		here, there := net.Pipe()
		dialed := ""
		done := make(chan error, 1)
		go func() {
			defer there.Close()
			_, err := socks(t.Context(), there, func(_ context.Context, _, address string) (net.Conn, error) {
				dialed = address
				a, b := net.Pipe()
				b.Close()
				return a, nil
			})
			done <- err
		}()
		go func() {
			io.WriteString(here, test.says)
			time.AfterFunc(100*time.Millisecond, func() { here.SetReadDeadline(time.Now()) })
		}()
		got := make([]byte, 64)
		n := 0
		for n < len(test.want) {
			k, err := here.Read(got[n:])
			if n += k; err != nil {
				break
			}
		}
		here.Close()
		err := <-done
		if !strings.HasPrefix(string(got[:n]), test.want) || dialed != test.dialed || (err == nil) != (test.dialed != "") {
			t.Errorf("%s: answered %q, dialed %q, %v", test.name, got[:n], dialed, err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
