package files

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// TestWriteSync holds what is synced, and when: a file before it has its name, and then the
// directory of a name that is new.
func TestWriteSync(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	r.job("echo $1 $(readlink /proc/self/fd/0) $(ls -A " + dir + ") >> " + log)
	h := r.Dial()
	path := filepath.Join(dir, "file")
	temp := regexp.MustCompile(regexp.QuoteMeta(dir) + `/?\.wick\S*|\.wick\S*`)
	for seq, x := range []struct {
		name  string
		flags framing.WriteFlags
		path  string
		want  []string // what is synced, and what is in the directory then
	}{
		{"replaced", 0, path, []string{"TEMP TEMP", dir + " file"}},
		{"in place", framing.WriteInPlace, path, []string{path + " file"}},
		{"made in place", framing.WriteInPlace, path + "2", []string{path + "2 file file2", dir + " file file2"}},
	} {
		h.WriteAll(uint32(seq), framing.WriteSync|x.flags, x.path, "new", 0)
		text, err := os.ReadFile(log)
		os.Remove(log)
		want := ""
		for _, line := range x.want {
			want += SyncJob.Name + " " + line + "\n"
		}
		if got := temp.ReplaceAllString(string(text), "TEMP"); got != want {
			t.Errorf("%s: synced %q, %v, want %q", x.name, got, err, want)
		}
	}
}

// TestWriteSyncFails has syncs fail. The old file stays where the new one is not sure to be on
// the disk.
func TestWriteSyncFails(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	roomtest.WriteFile(t, path, "old")
	h := r.Dial()
	seq := uint32(0)
	sync := func(want unix.Errno, content string) {
		t.Helper()
		seq++
		h.WriteAll(seq, framing.WriteSync, path, "new", want)
		roomtest.WantContent(t, path, content)
		roomtest.WantClean(t, dir)
	}
	r.job("exit 28")
	sync(unix.ENOSPC, "old")
	r.job("kill -9 $$")
	sync(unix.EINTR, "old")
	// The name is there by then, and it is not sure that it stays.
	r.job(`test "$(readlink /proc/self/fd/0)" != ` + dir + ` || exit 5`)
	sync(unix.EIO, "new")
	roomtest.WriteFile(t, path, "old")
	r.job(`test "$(readlink /proc/self/fd/0)" != ` + dir + ` || exit 22`) // as file systems that sync no directories
	sync(0, "new")
	roomtest.WriteFile(t, path, "old")
	r.Do(func() { r.Jobs.Command = []string{"/nonexistent"} })
	sync(0, "new")
	roomtest.WriteFile(t, path, "old")
	r.Do(func() { r.Jobs.Command = nil })
	sync(0, "new")
	h.Close()
	r.Lost(0)
	r.syncing(0, 0)
	roomtest.WantClosed(t, dir)
}

// TestWriteSyncWaits has more writes to sync than are synced at a time, and gives some of them
// up. Others go on.
func TestWriteSyncWaits(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir := t.TempDir()
	fifo, f := r.Fifo()
	r.job("read x < " + fifo)
	h := r.Dial()
	const n = maxSyncs + 4
	for seq := range uint32(n) {
		h.WriteTo(seq, framing.WriteSync, filepath.Join(dir, sys.Num(seq)), "x")
		h.Send(roomtest.Close(seq, framing.StreamInput))
	}
	h.Ping(100)
	r.syncing(maxSyncs, n-maxSyncs)
	for _, seq := range []uint32{0, n - 1} { // one that is under way, and one that waits
		h.Send(roomtest.Close(seq, framing.StreamOutput))
		h.WantDone(seq, unix.ECANCELED)
	}
	h.WriteAll(101, 0, filepath.Join(dir, "other"), "x", 0)
	// A line for each file that was begun, and for the directory of each that was not given up.
	f.WriteString(strings.Repeat("x\n", n-1+n-2))
	for range n - 2 {
		typ, seq, payload := h.Next()
		if d, err := framing.ParseDone(payload); typ != framing.TypeDone || err != nil || d.Errno != 0 || seq == 0 || seq == n-1 {
			t.Errorf("%v %d: %+v, %v, want done without an error", typ, seq, d, err)
		}
	}
	r.syncing(0, 0)
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) != n-2+1 {
		t.Errorf("there are %q, want %d names", names, n-1)
	}
	roomtest.WantClean(t, dir)
	h.Close()
	r.Lost(0)
	r.syncing(0, 0)
	roomtest.WantClosed(t, dir)
}

// TestWriteSyncMeanwhile has something happen while a write is synced. An exclusive one does
// not replace what is there by then, and one that has its name cannot be given up.
func TestWriteSyncMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	fifo, f := r.Fifo()
	r.job("read x < " + fifo)
	h := r.Dial()
	h.WriteTo(1, framing.WriteSync|framing.WriteExclusive, path, "new")
	h.Send(roomtest.Close(1, framing.StreamInput))
	r.syncing(1, 0)
	roomtest.WriteFile(t, path, "mine")
	f.WriteString("x\n")
	h.WantDone(1, unix.EEXIST)
	roomtest.WantContent(t, path, "mine")
	roomtest.WantClean(t, dir)

	h.WriteTo(2, framing.WriteSync, path, "new")
	h.Send(roomtest.Close(2, framing.StreamInput))
	r.syncing(1, 0)
	f.WriteString("x\n")
	roomtest.WaitFor(t, "the file has its name", func() bool {
		text, _ := os.ReadFile(path)
		return string(text) == "new"
	})
	r.syncing(1, 0) // the directory
	h.Send(roomtest.Close(2, framing.StreamOutput))
	h.Ping(3)
	f.WriteString("x\n")
	h.WantDone(2, 0)
	roomtest.WantContent(t, path, "new")
	h.Close()
	r.Lost(0)
	r.syncing(0, 0)
	roomtest.WantClosed(t, dir)
}
