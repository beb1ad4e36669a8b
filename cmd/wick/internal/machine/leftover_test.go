package machine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holderEnv makes the test's binary a process that holds a machine's directory and a child, until it is killed.
const holderEnv = "WICK_TEST_HOLDER"

func holder() {
	d, err := newDir()
	if err == nil {
		var p *process
		if p, err = start(exec.Command("sleep", "60")); err == nil {
			fmt.Println(d.path, p.cmd.Process.Pid)
			<-p.done
		}
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// A wick that is killed outright can clean nothing up. The kernel ends its children, and the next wick takes its directory away.
func TestKilledOutright(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 2 {
		t.Fatalf("holder said %q, %v", line, err)
	}
	dir := fields[0]
	pid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatalf("holder said %q", line)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)

	sweep(filepath.Dir(dir))
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the directory of a living wick was taken away: %v", err)
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	ended := []unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, int((10 * time.Second).Milliseconds())); n != 1 {
		t.Fatalf("the child outlives a killed wick: %v", err)
	}
	sweep(filepath.Dir(dir))
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory of a killed wick is left")
	}
}

func TestKeptDirStays(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t))
	d, err := newDir()
	if err != nil {
		t.Fatal(err)
	}
	d.keep()
	sweep(filepath.Dir(d.path))
	if _, err := os.Stat(d.path); err != nil {
		t.Errorf("a kept directory was swept: %v", err)
	}
}

func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
