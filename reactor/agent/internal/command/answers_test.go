package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
)

// lease takes a lease on a file: no program executes it before the lease is given up.
func lease(t *testing.T, path string) (giveUp func()) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip("set TMPDIR to a file system with leases:", err)
	}
	return func() { unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) }
}

// TestAnswers has programs whose execution takes long. The spawn_watches of a connection are
// answered in the order of the requests, and others do not wait. One that has waited long
// enough is answered as if its program had been executed. If that then fails, its process_exit
// says so.
func TestAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sudo := filepath.Join(dir, "sudo") // which is looked up, and no process but these executes it
	if err := os.WriteFile(sudo, []byte("#!/nonexistent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	giveUp := lease(t, sudo)
	r := newRoom(t, func(cfg *Config) {
		env := launch.NewEnv([]string{"PATH=" + dir}, cfg.Garbage)
		cfg.Env, cfg.Root = &env, false
	})
	h, other := r.Dial(), r.Dial()
	slow := framing.AppendExec(nil, framing.TypeSpawnWatch, 1, &framing.Exec{Command: []byte("true"), Root: true})
	h.Send(append(slow, roomtest.Exec(framing.TypeSpawnWatch, 2, 0, "exit 7")...))
	other.Send(roomtest.Exec(framing.TypeSpawnWatch, 3, 0, "exit 8"))
	pids := map[uint32]uint32{}
	spawned := func(h *roomtest.Host, seq uint32) {
		t.Helper()
		pid, err := framing.ParseSpawnResult(h.Want(framing.TypeSpawnResult, seq))
		if err != nil {
			t.Fatal(err)
		}
		pids[seq] = pid
	}
	exit := func(h *roomtest.Host, seq uint32, code int32, reason string) {
		t.Helper()
		var got framing.ExecResult
		pid, err := framing.ParseProcessExit(h.Want(framing.TypeProcessExit, 0), &got)
		if err != nil || pid != pids[seq] || got.ExitCode != code || !strings.Contains(string(got.Stderr), reason) {
			t.Errorf("exit of %d: pid %d, %+v, %v; want pid %d, code %d, %q",
				seq, pid, got, err, pids[seq], code, reason)
		}
	}
	spawned(other, 3)
	exit(other, 3, 8, "")
	spawned(h, 1)
	spawned(h, 2)
	exit(h, 2, 7, "")
	giveUp()
	exit(h, 1, 127, "sudo: no such file or directory")
	r.quiet()
}

// TestAnswersDetached half-closes a connection while a spawn_watch of it is not answered. It is
// answered at once, because nothing more will come. One whose connection is lost is answered to
// none.
func TestAnswersDetached(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	h := r.Dial()
	r.Do(func() {
		c := r.Server.All()[0]
		cmds := make([]*command, 4)
		for i := range cmds {
			cmds[i] = &command{service: r.s, conn: c, seq: uint32(i)}
			c.Owe()
			r.s.answers.add(cmds[i])
		}
		r.s.answers.answer(cmds[2], roomtest.Frame(framing.TypePong, 2))
		r.s.answers.answer(cmds[1], roomtest.Frame(framing.TypePong, 1))
		if n := len(r.s.answers.list); n != 4 {
			t.Errorf("%d wait for the first, want 4", n)
		}
		r.s.answers.answer(cmds[0], roomtest.Frame(framing.TypePong, 0))
		if n := len(r.s.answers.list); n != 1 {
			t.Errorf("%d wait after the first, want 1", n)
		}
		r.s.answers.detach(c)
		if n := len(r.s.answers.list); n != 0 || r.s.answers.timer.Running() {
			t.Errorf("%d wait after a detach, timer %v, want none", n, r.s.answers.timer.Running())
		}
	})
	for seq := range uint32(3) {
		h.Want(framing.TypePong, seq)
	}
	h.Want(framing.TypeSpawnResult, 3)
}
