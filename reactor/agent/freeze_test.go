package agent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// The numbers of linux/fs.h, and the longest freeze.
const (
	fiFreeze  = 0xc0045877
	fiThaw    = 0xc0045878
	maxFreeze = 60 * time.Second
)

// freezeBox returns an agent that can freeze a file system of its own, on which its spools are.
func freezeBox(t *testing.T) (b *box, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	roomtest.WriteFile(t, image, "")
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4"
	}
	if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Skipf("apt-get install e2fsprogs: %v: %s", err, out)
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,noatime", image, dir).CombinedOutput(); err != nil {
		t.Skipf("run as root, where loop devices work: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// A child of another test may have the descriptor until it executes.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.IoctlSetInt(fd, fiThaw, 0) // or nothing here ever ends
		unix.Close(fd)
	})
	b = startBox(t)
	b.do(func(a *Agent) {
		a.machine.FreezeFD, a.jobs.Command = fd, JobCommand
		a.disk.Spools = [3]string{dir}
	})
	return b, dir
}

// freeze asks for a freeze. The done must say that errno.
func (h *host) freeze(seq uint32, d time.Duration, errno unix.Errno) {
	h.Helper()
	h.Send(framing.AppendFreeze(nil, seq, uint32(d.Milliseconds()), 0))
	h.WantDone(seq, errno)
}

// thaw asks for a thaw. The done must say that errno.
func (h *host) thaw(seq uint32, errno unix.Errno) {
	h.Helper()
	h.Send(roomtest.Frame(framing.TypeThaw, seq))
	h.WantDone(seq, errno)
}

// thawed waits until nothing is held, and no job runs.
func (b *box) thawed() {
	b.Helper()
	b.until("it is thawed", func(a *Agent) bool { return !a.disk.Held() && len(children(a)) == 0 })
}

// TestThawByItself holds all that ends a freeze without a thaw: its time, another program, the
// end of its child, of its host's connection and of the agent.
func TestThawByItself(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dialHello()
	write := func() { // or it waits for ever
		t.Helper()
		roomtest.WriteFile(t, filepath.Join(dir, "file"), "")
	}
	ioctl := func(number uint) {
		b.do(func(a *Agent) {
			if err := unix.IoctlSetInt(a.machine.FreezeFD, number, 0); err != nil {
				t.Errorf("ioctl %#x: %v", number, err)
			}
		})
	}
	h.thaw(1, unix.EINVAL)
	h.freeze(2, 0, unix.EINVAL)
	h.freeze(2, maxFreeze+time.Millisecond, unix.EINVAL)
	h.freeze(1, time.Millisecond, 0)
	write()
	b.thawed()
	h.thaw(2, unix.EINVAL)

	// The child thaws while the agent is held up.
	h.freeze(3, 10*time.Millisecond, 0)
	b.do(func(*Agent) { write() })
	b.thawed()

	h.freeze(3, maxFreeze, 0)
	ioctl(fiThaw)
	h.thaw(4, 0)
	write()

	// The next freeze comes while the child of the one before is about to be gone.
	h.freeze(4, maxFreeze, 0)
	h.Send(framing.AppendFreeze(roomtest.Frame(framing.TypeThaw, 5), 6, 1, 0))
	h.WantDone(6, unix.EBUSY)
	h.WantDone(5, 0)

	// Another program thaws itself what it froze.
	ioctl(fiFreeze)
	h.freeze(4, maxFreeze, unix.EBUSY)
	ioctl(fiThaw)
	write()
	b.thawed()

	h.freeze(5, maxFreeze, 0)
	b.do(func(a *Agent) { unix.Kill(children(a)[0], unix.SIGKILL) })
	write()
	b.thawed()

	h.freeze(5, 10*time.Millisecond, 0)
	h.Close()
	write()
	b.thawed()

	h = b.dialHello()
	h.freeze(6, maxFreeze, 0)
	b.do(func(a *Agent) { a.drop() })
	write()
}

// TestRestoreThaws restores a machine whose snapshot was made while it was frozen, and while it
// was being frozen.
func TestRestoreThaws(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dialHello()
	restored := func(seq uint32, errno unix.Errno, epoch uint64) {
		t.Helper()
		if d := h.Done(seq); d.Errno != uint32(errno) || d.Value != epoch {
			t.Errorf("restore %d: errno %d (%s), epoch %d; want %d and %d",
				seq, d.Errno, d.Reason, d.Value, errno, epoch)
		}
	}
	h.freeze(1, maxFreeze, 0)
	h.Send(framing.AppendRestore(nil, 2, 0, nil))
	restored(2, 0, 1)
	roomtest.WriteFile(t, filepath.Join(dir, "frozen"), "")
	h.thaw(3, unix.EINVAL)

	path, gate := b.Fifo()
	if _, err := exec.LookPath("fsfreeze"); err != nil {
		t.Skip("apt-get install util-linux")
	}
	b.job("read x < " + path + "; fsfreeze -f " + dir + " && printf . && exec sleep 1000")
	h.Send(framing.AppendFreeze(nil, 4, uint32(maxFreeze.Milliseconds()), 0))
	h.Send(framing.AppendRestore(nil, 5, 0, nil))
	h.Ping(6)
	h.Send(framing.AppendRestore(nil, 7, 0, nil)) // the freeze is called off, so there is nothing to wait for
	restored(7, 0, 3)
	gate.WriteString("\n")
	h.WantDone(4, unix.ECANCELED)
	restored(5, 0, 2)
	roomtest.WriteFile(t, filepath.Join(dir, "freezing"), "")

	// A child that is killed has frozen already.
	b.job("fsfreeze -f " + dir + "; kill -9 $$")
	h.freeze(8, maxFreeze, unix.EINTR)
	roomtest.WriteFile(t, filepath.Join(dir, "killed"), "")
	b.job("read x < " + path + "; fsfreeze -f " + dir + " && printf . && exec sleep 1000")

	nothing, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0) // no ioctl(2) takes it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nothing)
	gate.WriteString("\n")
	h.freeze(10, maxFreeze, 0)
	var fd int
	b.do(func(a *Agent) { fd, a.machine.FreezeFD = a.machine.FreezeFD, nothing })
	h.Send(framing.AppendRestore(nil, 11, 0, nil))
	restored(11, unix.EBADF, 4)
	b.do(func(a *Agent) { a.machine.FreezeFD = fd })
	h.thaw(12, 0)
}

// TestUndead kills processes that cannot die, because they wait for a disk. Their receipts and
// results do not wait for them.
func TestUndead(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dialHello()
	h.freeze(1, maxFreeze, 0)
	command := "echo said; echo > " + filepath.Join(dir, "file")
	for _, x := range []struct {
		reason  framing.ExitReason
		code    int32
		timeout uint32
		keep    uint32
	}{
		{framing.ReasonTimedOut, 124, 3000, 0},
		{framing.ReasonCancelled, 137, 0, 0},
		{framing.ReasonCancelled, 137, 0, framing.KeepForEver},
	} {
		p := h.start(2, framing.Start{
			Shell: true, Args: words(command), TimeoutMS: x.timeout, KeepMS: x.keep, OutputCredit: plenty,
		})
		p.next()
		p.until(1, "said")
		b.until("it waits for the disk", func(*Agent) bool {
			stat, _ := os.ReadFile("/proc/" + sys.Num(p.started.PID) + "/stat")
			return bytes.Contains(stat, []byte(") D "))
		})
		if x.timeout == 0 {
			kill := framing.Signal{ID: 2, Signal: uint8(unix.SIGKILL), Scope: framing.ScopeTree}
			h.Send(framing.AppendSignal(nil, 3, kill))
			h.WantDone(3, 0)
		}
		if e := p.wait(); e.Reason != x.reason || e.Code != x.code || e.Signal != uint8(unix.SIGKILL) || e.ElapsedUS == 0 {
			t.Errorf("exited %+v, want %+v", e, x)
		}
		if x.keep != 0 {
			h.Send(roomtest.Frame(framing.TypeRelease, 2))
		}
	}
	h.Send(roomtest.Exec(framing.TypeExec, 4, 3000, command+"; echo unsaid"))
	if r := h.Result(4); r.ExitCode != 124 || string(r.Stdout) != "said\n" || string(r.Stderr) != "Timeout" {
		t.Errorf("exec: %+v, want code 124, said and Timeout", r)
	}
	b.do(func(a *Agent) {
		if running, n := len(a.table.Running()), a.sessions.CountKept(); running != 4 || n != 0 {
			t.Errorf("%d processes run, %d are kept, want 4 and 0", running, n)
		}
	})
	h.thaw(4, 0)
	h.Close()
	b.quiet(0)
}
