package guesttest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"wick/cmd/wick/internal/machinetest"
	"wick/framing/client"
)

// TestForward forwards connections into and out of a machine without a network device.
func TestForward(t *testing.T) {
	t.Parallel()
	s := serve(t, needFixture(t))
	put(t, s.conn, "/root/peer", s.fixture.peer)
	run(t, s.conn, "chmod +x /root/peer")
	s.all(t, []servedTest{
		{"http", testForwardHTTP},
		{"ports", testForwardPorts},
		{"half-close", testForwardHalf},
		{"conformance", testForwardConformance},
		{"bulk", testForwardBulk},
		{"many", testForwardMany},
		{"unread", testForwardUnread},
		{"agent socket", testForwardReverse},
		{"reset", testForwardReset},
	})
}

// server starts a server in the guest that listens on a port, until the test ends.
func (s *served) server(t *testing.T, command, port string) {
	t.Helper()
	pid := spawn(t, s.conn, "exec "+command)
	t.Cleanup(func() { s.conn.Exec(deadline(t, stepLimit), client.Exec{Command: fmt.Sprint("kill -9 ", pid)}) })
	until(t, s.conn, "netstat -ltn | grep -q :"+port)
}

func (s *served) dialPort(port string) (*client.Conn, error) {
	c, err := s.conn.DialContext(context.Background(), "tcp", "localhost:"+port)
	if err != nil {
		return nil, err
	}
	return c.(*client.Conn), nil
}

// testForwardHTTP fetches a file from a web server in the guest.
func testForwardHTTP(t *testing.T, s *served) {
	s.server(t, "busybox httpd -f -p 127.0.0.1:80 -h /root", "80")
	want := sha256.Sum256(s.fixture.peer)
	web := &http.Client{Transport: &http.Transport{DialContext: s.conn.DialContext}}
	defer web.CloseIdleConnections()
	for range 3 {
		r, err := web.Get("http://localhost/peer")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || sha256.Sum256(got) != want {
			t.Errorf("%s, %d bytes, %v", r.Status, len(got), err)
		}
	}
}

// testForwardPorts lists a server's port, and watches it go.
func testForwardPorts(t *testing.T, s *served) {
	pid := spawn(t, s.conn, "exec busybox httpd -f -p 127.0.0.1:81 -h /root")
	until(t, s.conn, "netstat -ltn | grep -q :81")
	list, err := s.conn.Ports(deadline(t, stepLimit))
	if err != nil || len(list) != 1 || list[0].Addr.String() != "127.0.0.1:81" || list[0].PID != pid || list[0].Program != "busybox" {
		t.Fatalf("ports: %+v, %v, want httpd as pid %d", list, err, pid)
	}
	for list, err := range s.conn.WatchPorts(deadline(t, stepLimit)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case len(list) == 1:
			run(t, s.conn, fmt.Sprint("kill -9 ", pid))
		case len(list) == 0:
			return
		}
	}
}

// testForwardHalf ends one direction after the other.
func testForwardHalf(t *testing.T, s *served) {
	s.server(t, "/root/peer echo tcp 127.0.0.1:9000", "9000")
	c, err := s.dialPort("9000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "question")
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "question" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// testForwardConformance holds forwarded connections to what the net package's own are held to.
// Both ends are the host's, and the guest connects them.
func testForwardConformance(t *testing.T, s *served) {
	ln, err := s.conn.Listen(deadline(t, stepLimit), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		dialed, err := s.conn.DialContext(deadline(t, stepLimit), "tcp", ln.Addr().String())
		if err != nil {
			return nil, nil, nil, err
		}
		accepted, err := ln.Accept()
		if err != nil {
			dialed.Close()
			return nil, nil, nil, err
		}
		return dialed, accepted, func() { dialed.Close(); accepted.Close() }, nil
	})
}

// testForwardBulk has the guest send back many random bytes.
func testForwardBulk(t *testing.T, s *served) {
	const size = 256 << 20
	s.server(t, "/root/peer echo tcp 127.0.0.1:9000", "9000")
	c, err := s.dialPort("9000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := status(t, s.conn, "VmHWM")
	sent, came := sha256.New(), sha256.New()
	began := time.Now()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{7}), size), sent))
		c.CloseWrite()
		wrote <- err
	}()
	n, err := io.Copy(came, c)
	if sendErr := <-wrote; n != size || err != nil || sendErr != nil || !bytes.Equal(sent.Sum(nil), came.Sum(nil)) {
		t.Errorf("%d of %d bytes came back, or others: %v, %v", n, size, err, sendErr)
	}
	grew := status(t, s.conn, "VmHWM") - before
	t.Logf("%d MiB in each direction took %v, VmHWM grew by %d kB", size>>20, time.Since(began).Round(time.Second), grew)
	if grew > 512 {
		t.Errorf("VmHWM of process 1 grew by %d kB", grew)
	}
}

// kept is what process 1 holds: descriptors, and sockets of the machine.
func (s *served) kept(t *testing.T) string {
	t.Helper()
	return run(t, s.conn, "ls /proc/1/fd | wc -l; grep -E '^(TCP|sockets):' /proc/net/sockstat | sed 's/ tw [0-9]*//; s/ mem.*//'")
}

// testForwardMany makes connections one after the other, and many at once, and nothing is left.
func testForwardMany(t *testing.T, s *served) {
	s.server(t, "/root/peer echo tcp 127.0.0.1:9000", "9000")
	echo := func(text string) error {
		c, err := s.dialPort("9000")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		c.CloseWrite()
		got, err := io.ReadAll(c)
		if err == nil && string(got) != text {
			err = fmt.Errorf("%d bytes came back, want %d", len(got), len(text))
		}
		return err
	}
	if err := echo("warm"); err != nil {
		t.Fatal(err)
	}
	before := s.kept(t)
	rounds := 10_000
	began := time.Now()
	for i := range rounds {
		if err := echo(fmt.Sprint(i)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	t.Logf("%d connections took %v", rounds, time.Since(began).Round(time.Second))
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if err := echo(strings.Repeat(fmt.Sprint(i), 10_000)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	all.Wait()
	after := ""
	for limit := time.Now().Add(stepLimit); time.Now().Before(limit); {
		if after = s.kept(t); after == before {
			return
		}
	}
	t.Errorf("before\n%safter\n%s", before, after)
}

// testForwardUnread has a peer that never reads. Pings are answered beside it.
func testForwardUnread(t *testing.T, s *served) {
	s.server(t, "/root/peer mute tcp 127.0.0.1:9000", "9000")
	c, err := s.dialPort("9000")
	if err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	if n, err := c.Write(make([]byte, 256<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d bytes that the peer does not read: %v", n, err)
	}
	var worst time.Duration
	for range 20 {
		took, err := s.conn.Ping(deadline(t, stepLimit))
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, took)
	}
	t.Logf("the slowest ping took %v", worst)
	if worst > time.Second {
		t.Errorf("a ping took %v beside a peer that does not read", worst)
	}
	c.Close()
}

// testForwardReverse serves a socket in the guest from the host, as for ssh-agent.
func testForwardReverse(t *testing.T, s *served) {
	ln, err := s.conn.Listen(deadline(t, stepLimit), "unix", "/run/agent.sock")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text, _ := io.ReadAll(c)
				fmt.Fprintf(c, "the host has read %s", text)
			}()
		}
	}()
	for range 3 {
		if got := run(t, s.conn, "/root/peer tell unix /run/agent.sock question"); got != "the host has read question" {
			t.Errorf("the guest got %q", got)
		}
	}
	ln.Close()
	until(t, s.conn, "test ! -e /run/agent.sock")
}

// testForwardReset resets the vsock device, as the restore of a snapshot does. Programs that had
// forwarded connections see a reset, and no silence.
func testForwardReset(t *testing.T, s *served) {
	ln, err := s.conn.Listen(deadline(t, stepLimit), "tcp", "127.0.0.1:9001")
	if err != nil {
		t.Fatal(err)
	}
	tell := func(name, text string) {
		spawn(t, s.conn, fmt.Sprintf("/root/peer tell tcp 127.0.0.1:9001 %s >/tmp/%s; echo $? >>/tmp/%[2]s", text, name))
	}
	tell("accepted", "question")
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "question" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	tell("waiting", "unheard")
	until(t, s.conn, "test $(netstat -tn | grep -c '9001.*CLOSE_WAIT') = 2")
	old := s.conn
	old.Exec(deadline(t, stepLimit), client.Exec{Command: fmt.Sprintf(resetDevice, "")})
	<-old.Done()
	s.accept(t)
	for _, name := range []string{"accepted", "waiting"} {
		until(t, s.conn, "grep -q '^1$' /tmp/"+name)
		if got := run(t, s.conn, "cat /tmp/"+name); !strings.Contains(got, "connection reset by peer") {
			t.Errorf("a program with a connection that was %s: %q", name, got)
		}
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the host could write on a lost connection")
	}
	again, err := s.conn.Listen(deadline(t, stepLimit), "tcp", "127.0.0.1:9001")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestRunPublish reaches a server in a machine of "wick run -p" with curl. The machine has no
// network device.
func TestRunPublish(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	curl, err := exec.LookPath("curl")
	if err != nil {
		machinetest.Lacking(t, "curl is missing: install curl")
	}
	wick, err := machinetest.Program(deadline(t, bootLimit), runtime.GOARCH, "wick/cmd/wick")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, init := filepath.Join(dir, "wick"), filepath.Join(dir, "vm-init")
	if err := errors.Join(os.WriteFile(program, wick, 0o755), os.WriteFile(init, l.init, 0o755)); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	if out, err := exec.Command(program, "run", "-p", port+":80", "--init", init, "--", "true").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "address already in use") {
		t.Errorf("a port that is taken: %v, %s", err, out)
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	socket := filepath.Join(dir, "web")
	cmd := exec.Command(program, "run", "--tmpfs", "--init", init, "-p", "127.0.0.1:0:80", "-p", "unix:"+socket+":80", "--",
		"sh", "-c", `test "$(ls /sys/class/net)" = lo; echo $? >/tmp/index.html; exec busybox httpd -f -p 80 -h /tmp`)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(bootLimit, func() { cmd.Process.Kill() })
	defer late.Stop()
	address := ""
	lines := bufio.NewScanner(said)
	for published := 0; published < 2 && lines.Scan(); {
		if before, _, ok := strings.Cut(lines.Text(), " to guest localhost:80"); ok {
			if published++; published == 1 {
				address = before[strings.LastIndexByte(before, ' ')+1:]
			}
		}
	}
	if address == "" {
		t.Fatalf("no port was published: %v", cmd.Wait())
	}
	go func() {
		for lines.Scan() {
		}
	}()
	fetch := func(args ...string) {
		t.Helper()
		args = append([]string{"-sS", "--retry", "60", "--retry-delay", "1", "--retry-all-errors"}, args...)
		if out, err := exec.Command(curl, args...).Output(); err != nil || string(out) != "0\n" {
			t.Errorf("curl %q: %v, %q", args, err, out)
		}
	}
	fetch("http://" + address + "/index.html")
	fetch("--unix-socket", socket, "http://guest/index.html")
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("wick run ended with %v", cmd.ProcessState)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the port is still open")
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is still there")
	}
}
