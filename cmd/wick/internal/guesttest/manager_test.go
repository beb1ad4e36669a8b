package guesttest

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRunAsService has wick run be the service of a manager: it says when the command runs, passes
// signals on, and powers the machine off in order after a second one.
func TestRunAsService(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(w.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	manager.SetReadDeadline(time.Now().Add(2 * bootLimit))
	told := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		if n, err := manager.Read(b); string(b[:n]) != want {
			t.Fatalf("the manager is told %q, %v; want %q", b[:n], err, want)
		}
	}
	cmd := w.command("run", "--name", "svc", "--keep", "--", "sh", "-c",
		`for s in QUIT TERM; do trap "echo got $s" $s; done; echo up; while :; do sleep 0.1; done`)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+filepath.Join(w.dir, "notify"))
	out, err := cmd.StdoutPipe()
	var said strings.Builder
	cmd.Stderr = &said
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*bootLimit, func() { cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	says := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("the command does not say %q, %v; stderr %q", want, lines.Err(), said.String())
	}
	told("READY=1")
	says("up")
	cmd.Process.Signal(syscall.SIGQUIT)
	says("got QUIT")
	cmd.Process.Signal(syscall.SIGTERM)
	says("got TERM")
	cmd.Process.Signal(syscall.SIGTERM)
	told("STOPPING=1")
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+15 {
		t.Errorf("wick run ended with %v, want code 143; stderr %q", cmd.ProcessState, said.String())
	}
	_, kept, _ := strings.Cut(said.String(), "kept in ")
	kept = strings.TrimSpace(kept)
	defer os.RemoveAll(kept)
	console, err := os.ReadFile(filepath.Join(kept, "console.log"))
	if err != nil || !strings.Contains(string(console), "going down") || !strings.Contains(string(console), "reboot: ") {
		t.Errorf("the machine has not powered off in order: %v\n%s", err, console)
	}
	if got := w.run(0, "list", "-a", "-q"); got != "" {
		t.Errorf("machines are left: %q", got)
	}
}
