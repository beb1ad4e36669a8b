package agent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// disk mounts an ext4 of its own and returns its directory and a descriptor of that.
func disk(t *testing.T) (dir string, fd int) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
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
		// Not at once: a child of another test, forked a moment ago, has the descriptor until it executes.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.IoctlSetInt(fd, fiThaw, 0) // or nothing here ever ends
		unix.Close(fd)
	})
	return dir, fd
}

// freezeBox is an agent that can freeze a disk, on which its spools are.
func freezeBox(t *testing.T) (b *box, dir string) {
	t.Helper()
	dir, fd := disk(t)
	b = startBox(t)
	b.do(func(a *Agent) {
		a.cfg.FreezeFD, a.cfg.JobCommand = fd, JobCommand
		a.disk.Spools = [3]string{dir}
	})
	return b, dir
}

// done reads a done with that seq.
func (h *host) done(seq uint32) framing.Done {
	h.Helper()
	d, err := framing.ParseDone(h.want(framing.TypeDone, seq))
	if err != nil {
		h.Fatal(err)
	}
	return d
}

// wantDone wants it to say that errno.
func (h *host) wantDone(seq uint32, errno unix.Errno) {
	h.Helper()
	if d := h.done(seq); d.Errno != uint32(errno) || (errno != 0) != (len(d.Reason) > 0) {
		h.Fatalf("done says %v (%s), want %v", unix.Errno(d.Errno), d.Reason, errno)
	}
}

// extend says hello.
func (h *host) extend() {
	h.Helper()
	h.send(framing.AppendHello(nil, 0, framing.Version))
	h.want(framing.TypeHelloResult, 0)
}

func (h *host) freeze(seq uint32, d time.Duration) {
	h.Helper()
	h.send(framing.AppendFreeze(nil, seq, uint32(d.Milliseconds())))
}

// thawed waits until it is, and the child that froze it is gone.
func (b *box) thawed() {
	b.Helper()
	b.until("thawed", func(a *Agent) bool { return !a.isFrozen() && !a.freezer.child.Running() })
}

func (h *host) thaw(seq uint32) {
	h.Helper()
	h.send(framing.AppendFrame(nil, framing.TypeThaw, seq, nil))
}

// While the file system is frozen the agent serves whatever does not write to it, and waits for nothing.
func TestFreeze(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dial()
	h.extend()
	h.thaw(1)
	h.wantDone(1, unix.EINVAL)
	for _, d := range []time.Duration{0, maxFreeze + time.Millisecond} {
		h.freeze(2, d)
		h.wantDone(2, unix.EINVAL)
	}

	// Before: a file that is coming, output in a spool, and a result from a spool that is being sent.
	coming := b.dial()
	file := filepath.Join(dir, "file")
	h.send(fileFrame(3, file, []byte("old")))
	h.wrote(3)
	frame := fileFrame(1, file, bytes.Repeat([]byte("x"), 100<<10))
	coming.send(frame[:70<<10])
	b.until("staged", func(a *Agent) bool { return a.conns[1].upload != nil && a.conns[1].upload.size > 0 })
	path, gate := b.fifo("gate")
	h.exec(4, "head -c 500000 /dev/zero; read x < "+path+"; head -c 500000 /dev/zero; echo end >&2")
	b.until("spooled", func(a *Agent) bool { return a.spooled == 500000 })

	slow := b.dial()
	slow.exec(1, "head -c 3000000 /dev/zero")
	b.until("sending", func(a *Agent) bool { return len(a.running) == 1 && a.conns[2].stream.Busy() })

	h.freeze(5, maxFreeze)
	h.wantDone(5, 0)
	h.freeze(6, maxFreeze)
	h.wantDone(6, unix.EBUSY)

	if r := slow.result(1); len(r.Stdout) != 3000000 {
		t.Errorf("%d bytes of a spool", len(r.Stdout))
	}
	slow.ping(2)
	b.do(func(a *Agent) {
		if n := a.disk.Waits(); n != 1 {
			t.Errorf("%d files to be closed, want 1", n)
		}
	})
	slow.Close()
	b.until("closed", func(a *Agent) bool { return len(a.conns) == 2 })

	refused := func(h *host, seq uint32) {
		t.Helper()
		if reason := h.wrote(seq); !strings.Contains(reason, "frozen") {
			t.Errorf("write_file says %q", reason)
		}
	}
	coming.send(frame[70<<10:])
	refused(coming, 1)
	h.send(fileFrame(7, file, []byte("new")))
	refused(h, 7)
	h.send(fileFrame(8, filepath.Join(dir, "made", "for", "it"), nil))
	refused(h, 8)
	h.send(fileFrame(9, "/dev/null", nil))
	refused(h, 9)

	gate.WriteString("\n")
	h.exec(11, "head -c 60000 /dev/zero; cat "+file)
	if r := h.result(11); len(r.Stdout) != 60003 {
		t.Errorf("%d bytes of a command that reads", len(r.Stdout))
	}
	// What has no room in memory waits, and so does one that ended by a timeout.
	h.send(execFrame(framing.TypeExec, 12, 2000, "head -c 100000 /dev/zero; exec sleep 1000"))
	b.until("held up", func(a *Agent) bool { return len(a.freezer.captures) == 2 })
	b.until("killed", func(a *Agent) bool { return len(a.running) == 1 })
	lost := b.dial()
	lost.send(frame[:80<<10])
	lost.Close()
	b.until("lost", func(a *Agent) bool { return len(a.conns) == 2 })
	h.ping(13)

	// A write waits for the thaw.
	h.exec(14, "echo written > "+filepath.Join(dir, "writer"))
	b.until("written to", func(a *Agent) bool { return len(a.running) == 2 })
	h.thaw(15)
	sizes := map[uint32]int{4: 1000000, 12: 100000, 14: 0}
	for range 4 {
		typ, seq, payload := h.read()
		if typ == framing.TypeDone && seq == 15 {
			if d, err := framing.ParseDone(payload); err != nil || d.Errno != 0 {
				t.Errorf("%+v, %v", d, err)
			}
			continue
		}
		var r framing.ExecResult
		if err := framing.ParseExecResult(payload, &r); err != nil || len(r.Stdout) != sizes[seq] {
			t.Errorf("seq %d: %d bytes, %v", seq, len(r.Stdout), err)
		}
	}
	b.quiet(2)
	b.do(func(a *Agent) {
		if f := &a.freezer; a.spooled != 0 || f.captures != nil || a.disk.Waits() != 0 || f.child.Running() {
			t.Errorf("left: %d bytes, %v", a.spooled, f)
		}
	})
	b.empty(dir)
	for name, want := range map[string]string{"file": "old", "writer": "written\n"} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestThawByItself: the watchdog, a host that is gone, an agent that ends.
func TestThawByItself(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dial()
	h.extend()
	write := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil { // or it waits for ever
			t.Error(err)
		}
	}
	h.freeze(1, time.Millisecond)
	h.wantDone(1, 0)
	write()
	b.thawed()
	h.thaw(2)
	h.wantDone(2, unix.EINVAL)

	// The agent itself is held up: the child does it.
	h.freeze(3, 10*time.Millisecond)
	h.wantDone(3, 0)
	b.do(func(a *Agent) { write() })
	b.thawed()

	// Somebody else thaws.
	h.freeze(3, maxFreeze)
	h.wantDone(3, 0)
	b.do(func(a *Agent) { unix.IoctlSetInt(a.cfg.FreezeFD, fiThaw, 0) })
	h.thaw(4)
	h.wantDone(4, 0)
	write()

	// The next freeze comes while the child of the one before is about to be gone.
	h.freeze(4, maxFreeze)
	h.wantDone(4, 0)
	h.send(framing.AppendFreeze(framing.AppendFrame(nil, framing.TypeThaw, 5, nil), 6, 1))
	h.wantDone(6, unix.EBUSY)
	h.wantDone(5, 0)

	// Somebody else has frozen already, and thaws.
	b.do(func(a *Agent) { unix.IoctlSetInt(a.cfg.FreezeFD, fiFreeze, 0) })
	h.freeze(4, maxFreeze)
	h.wantDone(4, unix.EBUSY)
	b.do(func(a *Agent) {
		if a.isFrozen() || unix.IoctlSetInt(a.cfg.FreezeFD, fiThaw, 0) != nil {
			t.Error("what somebody else froze was thawed")
		}
	})
	write()

	// Somebody kills the child.
	h.freeze(5, maxFreeze)
	h.wantDone(5, 0)
	b.do(func(a *Agent) { a.freezer.child.SignalGroup(unix.SIGKILL) })
	write()
	b.thawed()

	h.freeze(5, 10*time.Millisecond)
	h.wantDone(5, 0)
	h.Close()
	write()
	b.thawed()

	h = b.dial()
	h.extend()
	h.freeze(6, maxFreeze)
	h.wantDone(6, 0)
	b.do(func(a *Agent) { a.letGo() })
	write()
}

// TestUndead has processes killed that cannot die: they wait for a disk. Their receipts do not wait for them.
func TestUndead(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.extended()
	h.freeze(1, maxFreeze)
	h.wantDone(1, 0)
	command := "echo > " + filepath.Join(dir, "file")
	for _, x := range []struct {
		reason  framing.ExitReason
		code    int32
		timeout uint32
		keep    uint32
	}{{framing.ReasonTimedOut, 124, 1000, 0}, {framing.ReasonCancelled, 137, 0, 0}, {framing.ReasonCancelled, 137, 0, framing.KeepForEver}} {
		p := h.start(2, framing.Start{Shell: true, Args: words(command), TimeoutMS: x.timeout, KeepMS: x.keep})
		p.next()
		b.until("waits for the disk", func(*Agent) bool {
			stat, _ := os.ReadFile("/proc/" + sys.Num(p.started.PID) + "/stat")
			return bytes.Contains(stat, []byte(") D "))
		})
		if x.timeout == 0 {
			h.send(framing.AppendSignal(nil, 3, framing.Signal{ID: 2, Signal: uint8(unix.SIGKILL), Scope: framing.ScopeTree}))
			h.wantDone(3, 0)
		}
		if e := p.wait(); e.Reason != x.reason || e.Code != x.code || e.Signal != uint8(unix.SIGKILL) || e.ElapsedUS == 0 {
			t.Errorf("%+v, want %+v", e, x)
		}
		if x.keep != 0 {
			h.send(framing.AppendFrame(nil, framing.TypeRelease, 2, nil))
		}
	}
	b.do(func(a *Agent) {
		if len(a.running) != 3 || len(a.sessions) != 0 {
			t.Errorf("%d processes, %d sessions", len(a.running), len(a.sessions))
		}
	})
	h.thaw(4)
	h.wantDone(4, 0)
	h.Close()
	b.quiet(0)
}

// TestFreezing is the time before it is frozen: a child is at it.
func TestFreezing(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dial()
	h.extend()
	path, gate := b.fifo("gate")
	job := func(script string) {
		b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + path + "; " + script} })
	}
	freezeNow := "fsfreeze -f " + dir + " && printf . && exec sleep 1000"
	if _, err := exec.LookPath("fsfreeze"); err != nil {
		t.Skip("apt-get install util-linux")
	}
	job(freezeNow)
	h.freeze(1, maxFreeze)
	b.until("freezing", func(a *Agent) bool { return a.freezer.state == freezing })
	h.send(fileFrame(2, filepath.Join(dir, "file"), nil))
	if reason := h.wrote(2); !strings.Contains(reason, "frozen") {
		t.Error(reason)
	}
	// Called off.
	h.thaw(3)
	h.thaw(4)
	h.wantDone(4, unix.EINVAL)
	gate.WriteString("\n")
	h.wantDone(1, unix.ECANCELED)
	h.wantDone(3, 0)
	// It fails.
	job("exit 5")
	gate.WriteString("\n")
	h.freeze(5, maxFreeze)
	h.wantDone(5, unix.EIO)
	// It is killed, having frozen already.
	job(`fsfreeze -f ` + dir + `; kill -9 $$`)
	gate.WriteString("\n")
	h.freeze(6, maxFreeze)
	h.wantDone(6, unix.EINTR)
	// The host is gone before.
	job("fsfreeze -f " + dir + " && printf . && exec fsfreeze -u " + dir)
	h.freeze(7, time.Millisecond)
	b.until("freezing", func(a *Agent) bool { return a.freezer.state == freezing })
	h.Close()
	b.until("gone", func(a *Agent) bool { return len(a.conns) == 0 })
	gate.WriteString("\n")
	b.thawed()
	// It cannot be started.
	h = b.dial()
	h.extend()
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/nonexistent"} })
	h.freeze(8, time.Millisecond)
	h.wantDone(8, unix.ENOENT)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

// TestThawFails has a file system that cannot be thawed. Whoever asks is told, and it is frozen until it can.
func TestThawFails(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	h.extend()
	path, gate := b.fifo("gate")
	dir, err := unix.Open(b.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	nothing, err := unix.Open(b.dir, unix.O_PATH|unix.O_CLOEXEC, 0) // no ioctl(2) takes it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nothing)
	b.do(func(a *Agent) {
		a.cfg.FreezeFD, a.cfg.JobCommand = nothing, []string{"/bin/sh", "-c", "read x < " + path + "; printf .; exec sleep 1000"}
	})
	h.freeze(1, maxFreeze)
	b.until("freezing", func(a *Agent) bool { return a.freezer.state == freezing })
	h.thaw(2)
	h.ping(3)
	gate.WriteString("\n")
	h.wantDone(1, unix.ECANCELED)
	h.wantDone(2, unix.EBADF)
	h.thaw(4)
	h.wantDone(4, unix.EBADF)
	h.freeze(5, maxFreeze)
	h.wantDone(5, unix.EBUSY)
	b.do(func(a *Agent) { a.freezer.child.SignalGroup(unix.SIGKILL) })
	b.until("the child is gone", func(a *Agent) bool { return !a.freezer.child.Running() })
	h.send(fileFrame(6, filepath.Join(b.dir, "file"), nil))
	if reason := h.wrote(6); !strings.Contains(reason, "frozen") {
		t.Error(reason)
	}
	b.do(func(a *Agent) { a.cfg.FreezeFD = dir })
	h.thaw(7)
	h.wantDone(7, 0)
	h.send(fileFrame(8, filepath.Join(b.dir, "file"), nil))
	if reason := h.wrote(8); reason != "" {
		t.Error(reason)
	}
}
