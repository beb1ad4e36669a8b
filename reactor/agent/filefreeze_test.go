package agent

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestFreezeWrites freezes the disk under writes in every state. They fail, and what is left of them is removed after the thaw; what only
// reads goes on.
func TestFreezeWrites(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h, lost := b.dialExtended(), b.dialExtended()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	h.write(1, 0, path, "new")
	h.write(2, 0, path, "new")
	h.write(3, 0, path, "new")
	h.write(4, framing.WriteSync, path, "new")
	h.write(5, framing.WriteInPlace, path, "o")
	lost.write(1, 0, path, "new")
	lost.ping(2)
	fifo, f := b.fifo("fifo")
	b.do(func(a *Agent) { a.cfg.JobCommand = []string{"/bin/sh", "-c", "read x < " + fifo} })
	h.send(closeFrame(4, framing.StreamInput))
	b.until("syncing", func(a *Agent) bool { return a.fsyncs.running == 1 })
	b.do(func(a *Agent) { a.cfg.JobCommand = JobCommand })
	h.freeze(10, maxFreeze)
	h.wantDone(10, 0)

	h.send(inputFrame(1, []byte("more")))
	h.wantDone(1, unix.EBUSY)
	h.send(closeFrame(2, framing.StreamInput))
	h.wantDone(2, unix.EBUSY)
	h.send(closeFrame(3, framing.StreamOutput))
	h.wantDone(3, unix.ECANCELED)
	f.WriteString("x\n")
	h.wantDone(4, unix.EBUSY)
	h.send(inputFrame(5, []byte("more")))
	h.wantDone(5, unix.EBUSY)
	lost.Close()
	b.until("lost", func(a *Agent) bool { return len(a.conns) == 1 })
	for op := framing.ChangeMkdir; op <= framing.ChangeTime; op++ {
		h.send(changeFrame(11, op, framing.FileParents, path, path))
		h.wantDone(11, unix.EBUSY)
	}
	h.send(writeFrame(12, framing.WriteParents, path+"/x/y"))
	h.wantDone(12, unix.EBUSY)
	h.send(framing.AppendStat(nil, 13, 0, []byte(path)))
	h.want(framing.TypeStatResult, 13)
	h.send(readFrameOf(14, 100, path))
	h.want(framing.TypeOutput, 14)
	h.wantDone(14, 0)
	h.send(listFrame(15, 10_000, dir))
	h.want(framing.TypeOutput, 15)
	h.wantDone(15, 0)

	h.thaw(20)
	h.wantDone(20, 0)
	b.thawed()
	wantContent(t, path, "old")
	b.empty(dir)
	h.write(21, 0, path, "new")
	h.send(closeFrame(21, framing.StreamInput))
	h.wantDone(21, 0)
	wantContent(t, path, "new")
	h.Close()
	b.quiet(0)
}
