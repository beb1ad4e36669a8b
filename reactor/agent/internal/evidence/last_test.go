package evidence

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// job runs the job as process 1 does.
func job(t *testing.T, path, words string) error {
	t.Helper()
	cmd := exec.Command(launch.JobCommand[0], launch.JobCommand[1], LastJob.Name, path)
	cmd.Path = "/proc/self/exe"
	cmd.Stdin = strings.NewReader(words)
	return cmd.Run()
}

// TestLast writes last words, and takes them at the next boots.
func TestLast(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log/wick/last")
	if facts := TakeLast(path); facts != nil {
		t.Errorf("before the first end: %v, want none", facts)
	}
	for i, cause := range []string{"one", "two"} {
		if err := job(t, path, "unix=1\ncause="+cause+"\n\nwarn something\n"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), "unix=1\ncause="+cause+"\n\nwarn something\n\n") {
			t.Errorf("the file has %.100q, %v", text, err)
		}
		if i == 0 {
			continue // the second replaces the first
		}
		roomtest.WantContent(t, path, string(text))
	}
	if old, err := os.ReadFile(path + ".1"); err != nil || !strings.Contains(string(old), "cause=one\n") {
		t.Errorf("the old file has %.100q, %v, want the first cause", old, err)
	}
	want := "[[last.unix 1] [last.cause two] [last.file " + path + ".1]]"
	if got := fmt.Sprint(TakeLast(path)); got != want {
		t.Errorf("TakeLast = %s, want %s", got, want)
	}
	want = "[[last.cause unknown, the machine ended without last words]]"
	if got := fmt.Sprint(TakeLast(path)); got != want {
		t.Errorf("TakeLast again = %s, want %s", got, want)
	}
}

// TestLastElsewhere has a directory that another user can write to, and paths of no regular file.
func TestLastElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{open + "/last", dir + "/link/last", "/proc/none/last"} {
		if err := job(t, path, "cause=x\n"); err == nil {
			t.Errorf("the job has written %s", path)
		}
	}
	for name, make := range map[string]func(string) error{
		"fifo": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"dir":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		path := filepath.Join(dir, "of-"+name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if facts := TakeLast(path); facts != nil {
			t.Errorf("TakeLast of a %s = %v, want none", name, facts)
		}
	}
}

// TestLastIsBounded has a kernel's log that is longer than the file may be. The newest warnings
// are kept.
func TestLastIsBounded(t *testing.T) {
	t.Parallel()
	n := 0
	got := string(appendWarnings([]byte("words\n"), func([]byte) (r sys.KernelRecord, err error) {
		n++
		if n > 10_000 {
			return r, unix.EAGAIN
		}
		r.Priority, r.TimeUS = uint16(n%8), uint64(n)
		r.Text = fmt.Appendf(nil, "warning %d", n)
		return r, nil
	}))
	if len(got) > maxKernelWords+6 || !strings.HasPrefix(got, "words\n[0.00") || !strings.HasSuffix(got, "[0.010000] warning 10000\n") {
		t.Errorf("%d bytes, from %.40q to %q", len(got), got, got[len(got)-40:])
	}
	if strings.Contains(got, "warning 9997\n") || !strings.Contains(got, "warning 9996\n") {
		t.Error("the levels are not those of warnings and errors")
	}
}
