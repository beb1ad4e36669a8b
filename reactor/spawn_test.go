package reactor

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// printed runs a command with a pipe for its output, and returns that.
func printed(t *testing.T, l *Loop, cmd *Command) string {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(p[0]), "pipe")
	defer f.Close()
	cmd.Files[1] = p[1]
	if status := run(t, l, cmd); status != 0 {
		t.Errorf("%q: %#x", cmd.Args, status)
	}
	unix.Close(p[1])
	b := make([]byte, 1<<10)
	n, err := f.Read(b)
	if err != nil && n != 0 {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b[:max(n, 0)]))
}

func TestSpawnInDirectory(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := shell(t, "pwd")
	cmd.Dir = dir
	if got := printed(t, l, cmd); got != dir {
		t.Errorf("in %q", got)
	}
	cmd = shell(t, "pwd")
	cmd.Dir = dir + "/nothing"
	if err := fails(t, l, cmd); err == nil || err.Error() != "chdir "+cmd.Dir+": no such file or directory" {
		t.Error(err)
	}
}

func TestSpawnAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("run the tests as root")
	}
	l := newLoop(t, 0)
	cmd := shell(t, "echo $(id -u) $(id -g) $(id -G)")
	cmd.User = &User{UID: 1234, GID: 2345, Groups: []uint32{3456, 4567}}
	if got := printed(t, l, cmd); got != "1234 2345 2345 3456 4567" {
		t.Errorf("%q", got)
	}
	cmd.User = &User{UID: 1234, GID: 2345}
	if got := printed(t, l, cmd); got != "1234 2345 2345" {
		t.Errorf("without groups %q", got)
	}
}

// TestSpawnKeyring has a process of another user not possess what is in this one's session
// keyring.
func TestSpawnKeyring(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("run the tests as root")
	}
	runtime.LockOSThread() // and never unlocked: the keyring is the thread's
	if _, err := unix.KeyctlJoinSessionKeyring("wick-test"); err != nil {
		t.Skipf("no keyrings: %v", err)
	}
	if _, err := unix.AddKey("user", "wick-test-secret", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Fatal(err)
	}
	l := newLoop(t, 0)
	const count = "grep -c wick-test-secret /proc/keys; true"
	if got := printed(t, l, shell(t, count)); got != "1" {
		t.Errorf("a child of the same user sees %q keys", got)
	}
	cmd := shell(t, count)
	cmd.User = &User{UID: 1234, GID: 2345}
	if got := printed(t, l, cmd); got != "0" {
		t.Errorf("a child of another user sees %q keys", got)
	}
}

func TestSpawnOnTerminal(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(master)
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer unix.Close(int(slave))
	// In the stat file of a session leader with a terminal, its own number stands for its group,
	// its session and the foreground group. The fifth field is the terminal.
	cmd := shell(t, `set -- $(sed 's/.*) //' /proc/$$/stat); test $3 = $$ && test $4 = $$ && test $5 != 0 && test $6 = $$ && : > /dev/tty && echo leads`)
	cmd.Files[0] = int(slave)
	cmd.Terminal = true
	if got := printed(t, l, cmd); got != "leads" {
		t.Errorf("%q", got)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	exits := 0
	// The processor's time of what it waited for is its own.
	cmd := shell(t, "sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; exit 0")
	if err := l.Spawn(&c, cmd, exitedFunc(func(unix.WaitStatus) { exits++ })); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the exit", func() bool { return exits > 0 })
	if u := c.Usage(); u.User+u.System <= 0 || u.Peak < 64<<10 || u.Peak > 1<<30 {
		t.Errorf("%+v", u)
	}
}

// TestSignalReaped sends no signal to a number that may be another's by now.
func TestSignalReaped(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	var c Child
	exits := 0
	if err := l.Spawn(&c, shell(t, "sleep 1000"), exitedFunc(func(s unix.WaitStatus) {
		if s.Signal() != unix.SIGTERM {
			t.Errorf("%#x", s)
		}
		exits++
	})); err != nil {
		t.Fatal(err)
	}
	c.Signal(unix.SIGTERM)
	until(t, l, "the exit", func() bool { return exits > 0 })
	c.Signal(unix.SIGKILL)
	c.SignalGroup(unix.SIGKILL)
}
