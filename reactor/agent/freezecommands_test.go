package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/agent/internal/roomtest"
)

// counter has a command of h count in a file, and returns what waits until the count goes on.
func (b *box) counter(h *host, seq uint32) (file string, goesOn func()) {
	b.Helper()
	file = filepath.Join(b.dir, "count")
	h.Exec(seq, "while :; do echo . >>"+file+"; done")
	goesOn = func() {
		b.Helper()
		before := sizeOf(file)
		roomtest.WaitFor(b.T, "the count goes on", func() bool { return sizeOf(file) > before })
	}
	goesOn()
	return file, goesOn
}

func sizeOf(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return st.Size()
}

// freezeCommands asks for a freeze of the commands too. The done must say that errno.
func (h *host) freezeCommands(seq uint32, d time.Duration, errno unix.Errno) {
	h.Helper()
	h.Send(framing.AppendFreeze(nil, seq, uint32(d.Milliseconds()), framing.FreezeCommands))
	h.WantDone(seq, errno)
}

// groupFrozen reports whether the cgroup of all commands is frozen.
func (b *box) groupFrozen() bool {
	b.Helper()
	path := ""
	b.do(func(a *Agent) { path = a.contain.Path() })
	events, err := os.ReadFile(path + "/cgroup.events")
	if err != nil {
		b.Error(err)
	}
	return strings.Contains(string(events), "frozen 1")
}

// TestFreezeCommands freezes a command that counts. It goes on after a thaw, the freeze's time, a
// restore, and the end of the freezing child.
func TestFreezeCommands(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.needCgroups()
	b.do(func(a *Agent) { a.jobs.Command = JobCommand })
	worker, h := b.dial(), b.dialHello()
	file, goesOn := b.counter(worker, 1)
	still := func() {
		t.Helper()
		if !b.groupFrozen() {
			t.Error("the cgroup is not frozen")
		}
		before := sizeOf(file)
		for seq := range uint32(20) {
			h.Ping(seq)
		}
		if after := sizeOf(file); after != before {
			t.Errorf("%d bytes were written while it was frozen", after-before)
		}
	}
	h.thaw(1, unix.EOPNOTSUPP)
	h.freezeCommands(2, maxFreeze, 0)
	still()
	h.freezeCommands(3, maxFreeze, unix.EBUSY)
	// A command that is started meanwhile waits. Its timeout kills it.
	worker.Send(roomtest.Exec(framing.TypeExec, 4, 300, "echo ran"))
	if r := worker.Result(4); r.ExitCode != 124 || len(r.Stdout) > 0 {
		t.Errorf("a command with a timeout: %+v, want 124", r)
	}
	worker.Exec(5, "echo ran")
	worker.Ping(6)
	h.Send(roomtest.File(7, filepath.Join(b.dir, "written"), []byte("x"))) // no disk is frozen
	if reason := h.Wrote(7); reason != "" {
		t.Error(reason)
	}
	still()
	h.thaw(8, 0)
	goesOn()
	if r := worker.Result(5); string(r.Stdout) != "ran\n" {
		t.Errorf("a command of the freeze: %+v", r)
	}

	h.freezeCommands(9, 100*time.Millisecond, 0)
	goesOn()
	b.thawed()
	h.thaw(10, unix.EINVAL)
	h.freezeCommands(10, 100*time.Millisecond, 0)
	b.do(func(*Agent) { goesOnWithout(t, file) }) // the child thaws while the agent is held up
	b.thawed()

	h.freezeCommands(11, maxFreeze, 0)
	b.do(func(a *Agent) { unix.Kill(children(a)[0], unix.SIGKILL) })
	goesOn()
	b.thawed()

	// A restore thaws the commands when its own command has run.
	b.do(func(a *Agent) {
		b.setNotice(a, "cat "+a.contain.Path()+"/cgroup.events >"+filepath.Join(b.dir, "told"))
	})
	h.freezeCommands(12, maxFreeze, 0)
	h.Send(framing.AppendRestore(nil, 13, 0, nil))
	h.WantDone(13, 0)
	goesOn()
	told, err := os.ReadFile(filepath.Join(b.dir, "told"))
	if err != nil || !strings.Contains(string(told), "frozen 1") {
		t.Errorf("the restore's command saw %q, %v, want frozen 1", told, err)
	}

	// The agent's end thaws.
	h.freezeCommands(14, maxFreeze, 0)
	b.do(func(a *Agent) { a.drop() })
	goesOn()
	b.do(func(a *Agent) { a.table.Signal(unix.SIGKILL) })
	worker.Result(1)
	b.quiet(2)
}

func (b *box) setNotice(a *Agent, line string) {
	b.Helper()
	n := machine.Notice{Shell: true}
	n.Command.Add(line)
	a.machine.Notice = n
}

func goesOnWithout(t *testing.T, file string) {
	t.Helper()
	before := sizeOf(file)
	roomtest.WaitFor(t, "the count goes on", func() bool { return sizeOf(file) > before })
}

// TestFreezeBoth freezes commands and disk. If the disk cannot be frozen, the commands go on.
func TestFreezeBoth(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	b.needCgroups()
	worker, h := b.dial(), b.dialHello()
	_, goesOn := b.counter(worker, 1)
	h.freezeCommands(1, maxFreeze, 0)
	h.Send(roomtest.File(2, filepath.Join(dir, "refused"), []byte("x")))
	if reason := h.Wrote(2); reason == "" || !b.groupFrozen() {
		t.Errorf("write_file while both are frozen: %q, commands frozen: %v", reason, b.groupFrozen())
	}
	h.thaw(3, 0)
	goesOn()
	roomtest.WriteFile(t, filepath.Join(dir, "file"), "")

	var fd int
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	b.do(func(a *Agent) { fd, a.machine.FreezeFD = a.machine.FreezeFD, proc })
	h.freezeCommands(4, maxFreeze, unix.EOPNOTSUPP)
	goesOn()
	b.do(func(a *Agent) { a.machine.FreezeFD = fd })

	// Without cgroups there is nothing to freeze by.
	b.do(func(a *Agent) {
		a.table.Signal(unix.SIGKILL)
	})
	worker.Result(1)
	b.quiet(2)
	b.do(func(a *Agent) { a.contain.Close() })
	h.freezeCommands(5, maxFreeze, unix.EOPNOTSUPP)
}

// TestIdentityFrozen has a disk that cannot be thawed. Nothing is written to it, and the commands
// stay frozen too.
func TestIdentityFrozen(t *testing.T) {
	t.Parallel()
	b, _ := freezeBox(t)
	b.needCgroups()
	h := b.dialHello()
	h.freezeCommands(1, maxFreeze, 0)
	nothing, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // no ioctl(2) takes it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nothing)
	var fd int
	b.do(func(a *Agent) { fd, a.machine.FreezeFD = a.machine.FreezeFD, nothing })
	var m framing.Identity
	m.Words.Add("--timezone=No/Such")
	h.Send(framing.AppendIdentity(nil, 2, &m))
	r, err := framing.ParseIdentityResult(h.Want(framing.TypeIdentityResult, 2))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"thaw", "timezone"}
	errnos := []unix.Errno{unix.EBADF, unix.EBUSY}
	i := 0
	for p := range r.All {
		if i >= len(want) || string(p.Name) != want[i] || p.Errno != uint32(errnos[i]) {
			t.Errorf("part %d is %s: errno %d (%s), want %q, %v", i, p.Name, p.Errno, p.Reason, want, errnos)
		}
		i++
	}
	if !b.groupFrozen() || i != len(want) {
		t.Errorf("%d parts, commands frozen: %v; want %d and true", i, b.groupFrozen(), len(want))
	}
	b.do(func(a *Agent) { a.machine.FreezeFD = fd })
	h.thaw(3, 0)
	if b.groupFrozen() {
		t.Error("the commands are frozen after a thaw")
	}
}
