package files

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// TestDiskHold holds a disk twice. The second release does all that was put off: calls, which
// may hold it again, and then the removal and closing of files.
func TestDiskHold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &Disk{}
	target := Target{Path: dir + "/file", Dir: dir, Base: "file"}
	var s, late Staging
	for _, s := range []*Staging{&s, &late} {
		if err := s.OpenBeside(&target, false); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := openUnnamed(dir)
	if err != nil {
		t.Fatal(err)
	}
	called := 0
	d.Hold()
	d.Hold()
	s.Discard(d)
	s.Discard(d) // nothing is left to discard
	d.CloseUnlinked(fd)
	d.OnRelease(func() {
		called++
		if d.Held() {
			t.Error("the disk is held while a call that waited is made")
		}
		d.Hold()
		late.Discard(d)
		d.OnRelease(func() { called++ })
	})
	want := func(what string, calls, waiting, waits int) {
		t.Helper()
		if called != calls || d.Waiting() != waiting || d.Waits() != waits {
			t.Errorf("%s: %d calls made, %d calls and %d files wait; want %d, %d and %d",
				what, called, d.Waiting(), d.Waits(), calls, waiting, waits)
		}
	}
	d.Release()
	want("after one release", 0, 1, 2)
	if !d.Held() {
		t.Error("the disk is not held after one release of two")
	}
	d.Release()
	want("after two releases", 1, 1, 2) // the first staging is put off again
	d.Release()
	want("after the last release", 2, 0, 0)
	roomtest.WantClean(t, dir)
	roomtest.WantClosed(t, dir)
}

// TestFreezeWrites holds the disk under writes in every state. They fail, and what is left of
// them is removed after the release. Operations that only read go on.
func TestFreezeWrites(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir := t.TempDir()
	h, lost := r.Dial(), r.Dial()
	path := filepath.Join(dir, "file")
	roomtest.WriteFile(t, path, "old")
	h.WriteTo(1, 0, path, "new")
	h.WriteTo(2, 0, path, "new")
	h.WriteTo(3, 0, path, "new")
	h.WriteTo(4, framing.WriteSync, path, "new")
	h.WriteTo(5, framing.WriteInPlace, path, "o")
	lost.WriteTo(1, 0, path, "new")
	lost.Ping(2)
	coming := r.Dial()
	upload := roomtest.File(1, path, make([]byte, 200<<10))
	coming.Send(upload[:100<<10])
	r.Until("a write_file is coming", func() bool { return r.Server.All()[2].Request != nil })
	fifo, f := r.Fifo()
	r.job("read x < " + fifo)
	h.Send(roomtest.Close(4, framing.StreamInput))
	r.syncing(1, 0)
	r.Do(r.disk.Hold)

	h.Send(roomtest.Input(1, []byte("more")))
	h.WantDone(1, unix.EBUSY)
	h.Send(roomtest.Close(2, framing.StreamInput))
	h.WantDone(2, unix.EBUSY)
	h.Send(roomtest.Close(3, framing.StreamOutput))
	h.WantDone(3, unix.ECANCELED)
	f.WriteString("x\n")
	h.WantDone(4, unix.EBUSY)
	h.Send(roomtest.Input(5, []byte("more")))
	h.WantDone(5, unix.EBUSY)
	coming.Send(upload[100<<10:])
	coming.Send(roomtest.File(2, dir+"/made/for/it", nil))
	coming.Send(roomtest.File(3, "/dev/null", nil))
	for seq := uint32(1); seq <= 3; seq++ {
		if reason := coming.Wrote(seq); reason != "file system is frozen" {
			t.Errorf("write_file %d says %q, want that it is frozen", seq, reason)
		}
	}
	coming.Close()
	lost.Close()
	r.Lost(1)
	for op := framing.ChangeMkdir; op <= framing.ChangeTime; op++ {
		h.Send(roomtest.Change(11, op, framing.FileParents, path, path))
		h.WantDone(11, unix.EBUSY)
	}
	h.Send(roomtest.Write(12, framing.WriteParents, path+"/x/y"))
	h.WantDone(12, unix.EBUSY)
	h.Send(framing.AppendStat(nil, 13, 0, []byte(path)))
	h.Want(framing.TypeStatResult, 13)
	for seq, frame := range [][]byte{roomtest.Read(0, 100, path), roomtest.List(1, 10_000, dir)} {
		h.Send(frame)
		h.Want(framing.TypeOutput, uint32(seq))
		h.WantDone(uint32(seq), 0)
	}

	r.Do(r.disk.Release)
	roomtest.WantContent(t, path, "old")
	roomtest.WantClean(t, dir)
	r.job("")
	h.WriteAll(21, 0, path, "new", 0)
	roomtest.WantContent(t, path, "new")
	h.Close()
	r.Lost(0)
	roomtest.WantClosed(t, dir)
}
