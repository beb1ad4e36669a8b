package machine

import (
	"bufio"
	"errors"
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

// holderEnv makes the test's binary a process that holds a machine's directory and a child until it
// is killed.
const holderEnv = "WICK_TEST_HOLDER"

func holder() {
	d, err := newDir(false)
	if err == nil {
		var p *process
		if p, err = start(exec.Command("sleep", "60"), ""); err == nil {
			fmt.Println(d.path, p.cmd.Process.Pid)
			<-p.done
		}
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// TestKilledOutright kills a wick, which cannot clean up. The kernel ends its children, and the
// next wick removes its directory.
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

// TestKeptDirStays sweeps next to a directory that is to be kept, whose owner may have been killed.
func TestKeptDirStays(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t))
	d, err := newDir(true)
	if err != nil {
		t.Fatal(err)
	}
	sweep(filepath.Dir(d.path))
	if _, err := os.Stat(d.path); err != nil {
		t.Errorf("a kept directory was swept: %v", err)
	}
}

// TestOthersDirsStay sweeps next to directories that look like a machine's and are not. They are
// another program's, a copy, a moved one, and one with a different file as its lock.
func TestOthersDirsStay(t *testing.T) {
	base := shortTemp(t)
	t.Setenv("TMPDIR", base)
	left, err := newDir(false)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(left.file(lockName))
	if err != nil {
		t.Fatal(err)
	}
	lock := func(name, content string) string {
		dir := filepath.Join(base, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, lockName), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	moved, err := newDir(false)
	if err != nil {
		t.Fatal(err)
	}
	stay := []string{lock("wick-empty", ""), lock("wick-other", "some program's"), lock("wick-copy", string(text)), filepath.Join(base, "wick-moved")}
	fifo, linked := filepath.Join(base, "wick-fifo"), filepath.Join(base, "wick-linked")
	if err := errors.Join(
		os.Rename(moved.path, stay[3]),
		os.Mkdir(fifo, 0o700), unix.Mkfifo(filepath.Join(fifo, lockName), 0o600),
		os.Mkdir(linked, 0o700), os.Symlink(left.file(lockName), filepath.Join(linked, lockName)),
		os.Symlink(stay[0], filepath.Join(base, "wick-symlink")),
	); err != nil {
		t.Fatal(err)
	}
	moved.lock.Close()
	left.lock.Close()
	sweep(base)
	for _, dir := range append(stay, fifo, linked) {
		if _, err := os.Lstat(filepath.Join(dir, lockName)); err != nil {
			t.Errorf("it was swept: %v", err)
		}
	}
	if _, err := os.Stat(left.path); err == nil {
		t.Errorf("%s was left behind and is still there", left.path)
	}
}

// TestConsoleLog writes more than a kept console may have. Its beginning and its end stay.
func TestConsoleLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	l, err := newConsoleLog(path)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 1 << 20
	for i := range lines {
		fmt.Fprintf(l, "line %d\n", i)
	}
	l.Close()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if len(got) > consoleLogHead+consoleLogTail+100 || !strings.HasPrefix(text, "line 0\n") ||
		!strings.HasSuffix(text, fmt.Sprintf("line %d\n", lines-1)) || strings.Count(text, "wick left out ") != 1 {
		t.Errorf("it has %d bytes, begins with %q and ends with %q", len(got), text[:20], text[len(text)-20:])
	}
	if _, err := newConsoleLog(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("newConsoleLog of a file that is there: %v, want %v", err, os.ErrExist)
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
