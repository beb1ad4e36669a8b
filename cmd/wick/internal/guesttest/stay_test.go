package guesttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/machinetest"
)

// wickIn is a wick with machines of its own.
type wickIn struct {
	t            *testing.T
	program, dir string
	env          []string // in addition
}

func newWick(t *testing.T) *wickIn {
	t.Helper()
	l := needFixture(t)
	wick, err := machinetest.Program(deadline(t, bootLimit), runtime.GOARCH, "wick/cmd/wick")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "wick-stay-") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	w := &wickIn{t: t, program: filepath.Join(dir, "bin/wick"), dir: dir}
	init := filepath.Join(dir, "bin/vm-init")
	if err := errors.Join(os.Mkdir(filepath.Dir(init), 0o755), os.WriteFile(w.program, wick, 0o755), os.WriteFile(init, l.init, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if list, err := w.command("list", "-a", "-q").Output(); err == nil && len(list) > 0 {
			w.command(append([]string{"rm", "-f"}, strings.Fields(string(list))...)...).Run()
		}
		os.RemoveAll(dir)
	})
	return w
}

func (w *wickIn) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "XDG_RUNTIME_DIR="+w.dir, "XDG_STATE_HOME="+w.dir)
	cmd.Env = append(cmd.Env, w.env...)
	return cmd
}

// run runs wick, and returns its stdout. It fails the test unless wick ends with code.
func (w *wickIn) run(code int, args ...string) string {
	w.t.Helper()
	cmd := w.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	late := time.AfterFunc(bootLimit, func() { cmd.Process.Kill() })
	defer late.Stop()
	out, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("wick %q: exit code %d, want %d; stdout %q, stderr %q", args, got, code, out, stderr.String())
	}
	return string(out)
}

// status returns the status and the exit code of a machine.
func (w *wickIn) status(name string) string {
	w.t.Helper()
	return strings.TrimSpace(w.run(0, "inspect", "-f", "{{.Status}} {{.ExitCode}}", name))
}

// until waits until the log of a machine has a text, on either output.
func (w *wickIn) until(name, text string) {
	w.t.Helper()
	for end := time.Now().Add(bootLimit); ; {
		out, err := w.command("logs", name).CombinedOutput()
		if bytes.Contains(out, []byte(text)) {
			return
		}
		if err != nil || time.Now().After(end) {
			w.t.Fatalf("the log of %s has no %q: %q, %v", name, text, out, err)
		}
	}
}

// TestRunDetached leads a machine that stays through its life.
func TestRunDetached(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	const script = `echo boot $(cat /disk 2>/dev/null); echo again >/disk; sync
trap "echo bye; exit 3" TERM; echo ready >&2; while :; do echo tick; sleep 0.1; done`
	id := strings.TrimSpace(w.run(0, "run", "-d", "--name", "web", "-l", "tier=front", "--mem", "96", "--", "sh", "-c", script))
	w.until("web", "ready\n")
	if got := w.run(0, "list", "--format", "{{.Name}} {{.ID}} {{.Status}} {{.MemoryMiB}} {{.Labels.tier}}"); got != "web "+id+" running 96 front\n" {
		t.Errorf("list: %q", got)
	}
	w.run(125, "run", "-d", "--name", "web", "--", "true")
	// The command's streams, its end, and files.
	if got := w.run(7, "exec", "web", "sh", "-c", "echo out; exit 7"); got != "out\n" {
		t.Errorf("exec: %q", got)
	}
	w.run(0, "cp", "web:/disk", filepath.Join(w.dir, "copy"))
	if b, err := os.ReadFile(filepath.Join(w.dir, "copy")); err != nil || string(b) != "again\n" {
		t.Errorf("the copy has %q, %v", b, err)
	}
	if got := w.run(0, "--to", "machine:"+id[:6], "exec", "--", "cat", "/disk"); got != "again\n" {
		t.Errorf("exec by id: %q", got)
	}
	// To look at it leaves it running.
	attach := w.command("attach", "--no-stdin", "web")
	shown, err := attach.StdoutPipe()
	if err == nil {
		err = attach.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shown.Read(make([]byte, 1)); err != nil {
		t.Errorf("attach shows nothing: %v", err)
	}
	attach.Process.Signal(syscall.SIGINT)
	if attach.Wait(); attach.ProcessState.ExitCode() != 130 {
		t.Errorf("attach ended with %v", attach.ProcessState)
	}
	w.run(0, "pause", "web")
	w.run(125, "exec", "web", "true")
	w.run(1, "pause", "web")
	w.run(0, "unpause", "web")
	w.saved("web")
	w.run(0, "rename", "web", "front")
	w.run(1, "rm", "front")
	w.run(0, "stop", "front")
	if got := w.status("front"); got != "stopped 3" {
		t.Errorf("after stop it is %s, want stopped 3", got)
	}
	if got := w.run(0, "logs", "-n", "2", "front"); !strings.HasSuffix(got, "bye\n") || strings.Count(got, "\n") > 2 {
		t.Errorf("its last words are %q", got)
	}
	// Its disk stays, and the truth is told after kill -9 of its supervisor.
	w.run(0, "start", "front")
	w.until("front", "boot again\n")
	var list []struct {
		PID     int
		Address string
	}
	if err := json.Unmarshal([]byte(w.run(0, "inspect", "front")), &list); err != nil || len(list) != 1 {
		t.Fatal(err)
	}
	syscall.Kill(list[0].PID, syscall.SIGKILL)
	if got := strings.TrimSpace(w.run(0, "wait", "front")); got != "137" {
		t.Errorf("wait printed %s, want 137", got)
	}
	if got := w.status("front"); got != "lost 137" {
		t.Errorf("after its supervisor was killed it is %s, want lost 137", got)
	}
	w.run(0, "rm", "front")
	if got := w.run(0, "list", "-a", "-q"); got != "" {
		t.Errorf("machines are left: %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "wick/machines/*")); len(left) > 0 {
		t.Errorf("disks are left: %q", left)
	}
}

// TestRunDetachedEnds has commands of machines that stay end by themselves.
func TestRunDetachedEnds(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	w.run(127, "run", "-d", "--tmpfs", "--", "nosuch")
	w.run(127, "run", "-d", "--tmpfs", "--init-arg=--workload=/nosuch")
	// An attach has the output of a flood, and the log has all of it.
	w.run(0, "run", "-d", "-i", "--tmpfs", "--name", "job", "--", "sh", "-c", "read x; seq $x; printf end; exit 7")
	waited := w.command("wait", "job")
	var code bytes.Buffer
	waited.Stdout = &code
	if err := waited.Start(); err != nil {
		t.Fatal(err)
	}
	const lines = 100000
	attach := w.command("attach", "job")
	attach.Stdin = strings.NewReader(fmt.Sprintln(lines))
	attached, _ := attach.Output()
	if err := waited.Wait(); err != nil || code.String() != "7\n" || attach.ProcessState.ExitCode() != 7 {
		t.Errorf("wait: %v, %q; attach: %v", err, code.String(), attach.ProcessState)
	}
	var flood strings.Builder
	for n := range lines {
		fmt.Fprintln(&flood, n+1)
	}
	logged := w.run(0, "logs", "job")
	if logged != flood.String()+"end" {
		t.Errorf("the log has %d bytes, want %d", len(logged), flood.Len()+3)
	}
	if got := string(attached); !strings.HasSuffix(got, "end") || len(got) > len(logged) {
		t.Errorf("attach has %d bytes, want at most %d and the last", len(got), len(logged))
	}
	// A command that fails is started again, up to the number of tries.
	w.run(0, "run", "-d", "--tmpfs", "--restart", "on-failure:2", "--name", "loop", "--", "sh", "-c", "echo try; exit 4")
	if got := strings.TrimSpace(w.run(0, "wait", "loop")); got != "4" {
		t.Errorf("wait printed %s, want 4", got)
	}
	if got := w.run(0, "logs", "loop"); got != "try\ntry\ntry\n" {
		t.Errorf("it was run as often as its log says: %q", got)
	}
	w.run(0, "run", "-d", "--tmpfs", "--name", "deaf", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
	w.until("deaf", "up")
	w.run(0, "stop", "-t", "0", "deaf")
	if got := w.status("deaf"); got != "stopped 137" {
		t.Errorf("a deaf command that was stopped is %s, want stopped 137", got)
	}
	w.run(0, "start", "deaf")
	w.run(0, "kill", "deaf")
	if got := w.status("deaf"); got != "stopped 137" {
		t.Errorf("a killed machine is %s, want stopped 137", got)
	}
}

// TestRunForeground has a machine that does not stay in the list while it runs. Its command gets
// the signal that wick kill names, and its stop signal for SIGTERM to wick and for wick stop.
func TestRunForeground(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	cmd := w.command("run", "--name", "fg", "--tmpfs", "--stop-signal", "USR1", "--stop-timeout", "100", "--", "sh", "-c",
		`trap "echo usr2" USR2; trap 'echo usr1; n=x$n; [ $n = xx ] && exit 9' USR1; echo up; while :; do sleep 0.1; done`)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(bootLimit, func() { cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	says := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			t.Fatalf("it says %q, want %q", lines.Text(), want)
		}
	}
	says("up")
	if got := w.run(0, "exec", "fg", "echo", "here"); got != "here\n" {
		t.Errorf("exec: %q", got)
	}
	w.run(125, "attach", "fg")
	w.run(0, "kill", "-s", "USR2", "fg")
	says("usr2")
	cmd.Process.Signal(syscall.SIGTERM)
	says("usr1")
	w.run(0, "stop", "fg")
	says("usr1")
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("wick run ended with %v, want code 9", cmd.ProcessState)
	}
	if got := w.run(0, "list", "-a", "-q"); got != "" {
		t.Errorf("machines are left: %q", got)
	}
}
