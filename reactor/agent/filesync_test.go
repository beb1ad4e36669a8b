package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// syncWith has a shell do an agent's syncs. What it is to sync is its stdin.
func (b *box) syncWith(script string) {
	b.Helper()
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", script, "sync"} })
}

// TestWriteSync looks at what is synced, and when: the file before it has its name, and then the directory of that.
func TestWriteSync(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	log := filepath.Join(b.dir, "log")
	b.syncWith("echo $1 $(readlink /proc/self/fd/0) $(ls -A " + b.work + ") >> " + log)
	h := b.dialExtended()
	lines := func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(log)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	path := filepath.Join(b.work, "file")
	h.write(1, framing.WriteSync, path, "new")
	h.send(closeFrame(1, framing.StreamInput))
	h.wantDone(1, 0)
	got := lines()
	temp, _, _ := strings.Cut(got[0], " ")
	if temp != jobSyncFile || len(got) != 2 || !strings.Contains(got[0], b.work+"/.wick") || strings.Contains(got[0], " file") || got[1] != jobSyncFile+" "+b.work+" file" {
		t.Errorf("replaced: %q", got)
	}
	h.write(2, framing.WriteSync|framing.WriteInPlace, path, "NEW")
	h.send(closeFrame(2, framing.StreamInput))
	h.wantDone(2, 0)
	if got := lines(); len(got) != 1 || got[0] != jobSyncFile+" "+path+" file" {
		t.Errorf("in place: %q", got)
	}
	h.write(3, framing.WriteSync|framing.WriteInPlace, path+"2", "NEW")
	h.send(closeFrame(3, framing.StreamInput))
	h.wantDone(3, 0)
	if got := lines(); len(got) != 2 || got[0] != jobSyncFile+" "+path+"2 file file2" || got[1] != jobSyncFile+" "+b.work+" file file2" {
		t.Errorf("made in place: %q", got)
	}
	os.Remove(path)
	os.Remove(path + "2")
}

// TestWriteSyncFails leaves the old file where the new one is not sure to be on the disk.
func TestWriteSyncFails(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	h := b.dialExtended()
	seq := uint32(0)
	sync := func(want unix.Errno, content string) {
		t.Helper()
		seq++
		h.write(seq, framing.WriteSync, path, "new")
		h.send(closeFrame(seq, framing.StreamInput))
		h.wantDone(seq, want)
		wantContent(t, path, content)
		b.empty(dir)
	}
	b.syncWith("exit 28")
	sync(unix.ENOSPC, "old")
	b.syncWith("kill -9 $$")
	sync(unix.EINTR, "old")
	// The name is there by then, and it is not sure that it stays.
	b.syncWith(`test "$(readlink /proc/self/fd/0)" != ` + dir + ` || exit 5`)
	sync(unix.EIO, "new")
	mustWrite(t, path, "old")
	b.syncWith(`test "$(readlink /proc/self/fd/0)" != ` + dir + ` || exit 22`) // as file systems that sync no directories
	sync(0, "new")
	mustWrite(t, path, "old")
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/nonexistent"} })
	sync(0, "new")
	mustWrite(t, path, "old")
	b.do(func(a *Agent) { a.cfg.JobCommand = nil })
	sync(0, "new")
	h.Close()
	b.quiet(0)
	held(t, dir)
}

// TestWriteSyncWaits has more writes synced than are at a time, while others go on, and gives some of them up.
func TestWriteSyncWaits(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	fifo, f := b.fifo("fifo")
	b.syncWith("read x < " + fifo)
	h := b.dialExtended()
	const n = maxFileSyncs + 4
	for seq := range uint32(n) {
		h.write(seq, framing.WriteSync, filepath.Join(dir, sys.Num(seq)), "x")
		h.send(closeFrame(seq, framing.StreamInput))
	}
	h.ping(100)
	b.until("waiting", func(a *Agent) bool {
		return a.fsyncs.running == maxFileSyncs && len(a.fsyncs.waiting) == n-maxFileSyncs
	})
	for _, seq := range []uint32{0, n - 1} { // one that is under way, and one that waits
		h.send(closeFrame(seq, framing.StreamOutput))
		h.wantDone(seq, unix.ECANCELED)
	}
	h.write(101, 0, filepath.Join(dir, "other"), "x")
	h.send(closeFrame(101, framing.StreamInput))
	h.wantDone(101, 0)
	// A line for each file but that which was not begun, and for the directory of each but those that were given up.
	f.WriteString(strings.Repeat("x\n", n-1+n-2))
	for range n - 2 {
		typ, seq, payload := h.read()
		if d, err := framing.ParseDone(payload); typ != framing.TypeDone || err != nil || d.Errno != 0 || seq == 0 || seq == n-1 {
			t.Error(typ, seq, d, err)
		}
	}
	b.until("synced", func(a *Agent) bool { return a.fsyncs.running == 0 && len(a.fsyncs.waiting) == 0 })
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) != n-2+1 {
		t.Errorf("%q", names)
	}
	b.empty(dir)
	h.Close()
	b.quiet(0)
	held(t, dir)
}

// TestWriteSyncMeanwhile has something happen while a write is synced: what is there by then is not replaced by one that is exclusive, and what has its
// name cannot be given up.
func TestWriteSyncMeanwhile(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	fifo, f := b.fifo("fifo")
	b.syncWith("read x < " + fifo)
	h := b.dialExtended()
	syncing := func() {
		t.Helper()
		b.until("syncing", func(a *Agent) bool { return a.fsyncs.running == 1 })
	}
	h.write(1, framing.WriteSync|framing.WriteExclusive, path, "new")
	h.send(closeFrame(1, framing.StreamInput))
	syncing()
	mustWrite(t, path, "mine")
	f.WriteString("x\n")
	h.wantDone(1, unix.EEXIST)
	wantContent(t, path, "mine")
	b.empty(dir)

	h.write(2, framing.WriteSync, path, "new")
	h.send(closeFrame(2, framing.StreamInput))
	syncing()
	f.WriteString("x\n")
	b.until("placed", func(a *Agent) bool { w, ok := a.conns[0].channel(2).(*fileWrite); return ok && w.placed })
	syncing() // the directory
	h.send(closeFrame(2, framing.StreamOutput))
	h.ping(3)
	f.WriteString("x\n")
	h.wantDone(2, 0)
	wantContent(t, path, "new")
	h.Close()
	b.quiet(0)
	held(t, dir)
}
