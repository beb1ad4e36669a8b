package reactor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { roles["show limit"] = showLimit }

// ways runs f with a loop that forks by clone3, with one whose children share its memory, and with
// one that must do without clone3. An old kernel and a filter force it to.
func ways(t *testing.T, f func(t *testing.T, l *Loop)) {
	t.Parallel()
	for _, way := range []struct {
		name   string
		way    forkWay
		shares bool
	}{{"clone3", byClone3, false}, {"shared", byClone3, true}, {"clone", byClone, false}, {"fork", byFork, false}} {
		t.Run(way.name, func(t *testing.T) {
			l := newLoop(t, 0)
			l.spawner.way = way.way
			if way.shares {
				l.Share()
			}
			f(t, l)
			if l.spawner.way != way.way {
				t.Error("this kernel, or a filter, refuses clone3 as it is called")
			}
		})
	}
}

// output runs a command and returns its output.
func output(t *testing.T, l *Loop, cmd *Command) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Files[1], cmd.Files[2] = int(f.Fd()), int(f.Fd())
	if status := run(t, l, cmd); status != 0 {
		t.Errorf("status %#x, want 0", status)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestChildEnv holds that a command without an environment has the loop's, and that one with an
// empty environment has no variable.
func TestChildEnv(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		if err := l.SetEnv([]string{"A=1", "B=2"}); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			env  []string
			want string
		}{{nil, "A=1\nB=2\n"}, {[]string{}, ""}, {[]string{"C=3"}, "C=3\n"}, {nil, "A=1\nB=2\n"}} {
			cmd := shell(t, "")
			cmd.Path, cmd.Args, cmd.Env = "/usr/bin/env", []string{"env"}, x.env
			if got := output(t, l, cmd); got != x.want {
				t.Errorf("env with %q printed %q, want %q", x.env, got, x.want)
			}
		}
		if err := l.SetEnv([]string{"A=\x00"}); !errors.Is(err, unix.EINVAL) {
			t.Errorf("SetEnv with a NUL = %v, want EINVAL", err)
		}
	})
}

// TestChildOOMScore holds that a child has its score before it executes its program.
func TestChildOOMScore(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		cmd := shell(t, "cat /proc/self/oom_score_adj")
		cmd.OOMScore = "5000"
		const want = "setrlimit process: invalid argument"
		if err := fails(t, l, cmd); err == nil || err.Error() != want {
			t.Errorf("a score of 5000: %v, want %s", err, want)
		}
		if l.spawner.shares {
			return // this process would get the score too
		}
		cmd.OOMScore = "500"
		if got := output(t, l, cmd); got != "500\n" {
			t.Errorf("the child's score is %q, want 500", got)
		}
	})
}

// TestChildState holds that a child has no signal handled or blocked, and a process group of its
// own. Its descriptors are those of the command, even if their numbers are 0 to 2 in another order.
func TestChildState(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		got := output(t, l, shell(t, "sed -n 's/^SigBlk:\\t//p; s/^SigCgt:\\t//p; s/^NSpgid:\\t//p' /proc/self/status; echo $$"))
		lines := strings.Split(got, "\n")
		const none = "0000000000000000"
		if len(lines) != 5 || lines[0] != lines[3] || lines[1] != none || lines[2] != none {
			t.Errorf("process group, signals blocked and caught, pid are %q", got)
		}
		cmd := shell(t, "")
		want := make([]string, 3)
		for i, fd := range []int{2, 0, 1} {
			cmd.Files[i] = fd
			want[i], _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		}
		out := t.TempDir() + "/out"
		cmd.Args[2] = "x=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo \"$x\" >" + out
		if status := run(t, l, cmd); status != 0 {
			t.Errorf("status %#x, want 0", status)
		}
		if text, _ := os.ReadFile(out); string(text) != strings.Join(want, "\n")+"\n" {
			t.Errorf("descriptors are %q, want %q", text, want)
		}
	})
}

// TestChildFileLimit holds that a child has the limit of open descriptors with which this process
// was started, although Go has raised it. A limit that was set since then is inherited.
func TestChildFileLimit(t *testing.T) {
	t.Parallel()
	cmd := role(t, "show limit")
	cmd.Args = append([]string{"sh", "-c", `ulimit -Sn 512 && exec "$0"`}, cmd.Path)
	cmd.Path = "/bin/sh"
	if got := play(t, cmd); got != "512\n512\n300\n300\n" {
		t.Errorf("limits are %q, want 512 twice and 300 twice", got)
	}
}

func showLimit() error {
	show := func() error {
		for _, way := range []forkWay{byClone3, byClone} {
			l, err := New(0)
			if err != nil {
				return err
			}
			l.spawner.way = way
			var c Child
			cmd := &Command{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -n"}, Files: [3]int{0, 1, 2}}
			if err := l.Spawn(&c, cmd, exitedFunc(func(unix.WaitStatus) { l.Stop() })); err != nil {
				return err
			}
			if err := l.Run(); err != nil {
				return err
			}
			l.Close()
		}
		return nil
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || now.Cur <= 512 {
		return fmt.Errorf("the limit is %d (%v), want more than 512", now.Cur, err)
	}
	if err := show(); err != nil {
		return err
	}
	now.Cur = 300
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	return show()
}
