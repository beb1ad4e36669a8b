package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// freezer holds the writable file system still, for a snapshot of its disk (ioctl_fsfreeze in the kernel's terms: FIFREEZE and FITHAW of
// linux/fs.h).
//
//	thawed ──freeze──▶ freezing ──the child is done──▶ frozen ──thaw, or the time is over──▶ thawed
//	                      └─it failed, or a thaw came─────────────────────────────────────────▲
//
// To write a file there, to remove one, even to close one that has no name any more, waits until it is thawed. So from the moment when the
// child is started the agent does none of that: a write_file is refused, output that does not fit in memory is left in its pipe, and files are
// closed afterwards.
type freezer struct {
	state     freezeState
	calledOff bool // a thaw came while it was freezing
	agent     *Agent
	child     reactor.Child
	after     time.Duration
	timer     reactor.Timer // the watchdog
	freeze    waiter        // who is to be told that it is frozen
	thaw      waiter        // and who that it is not

	// What waits for the thaw.
	captures []*capture
	copies   []*copying
	stagings []staging
	files    []int
}

type freezeState uint8

const (
	thawed freezeState = iota
	freezing
	frozen
)

// Linux's numbers on every architecture but mips, powerpc and sparc: _IOWR('X', 119 and 120, int).
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

const (
	// maxFreeze is the longest time for which a host may have the file system frozen.
	maxFreeze = 60 * time.Second
	// thawAgain is when a thaw that failed is tried again.
	thawAgain = time.Second
)

var (
	errFrozen    = &failure{unix.EBUSY, "file system is frozen"}
	errNoFreeze  = &failure{unix.EOPNOTSUPP, "freeze: no disk to freeze"}
	errNotFrozen = &failure{unix.EINVAL, "thaw: file system is not frozen"}
	errCalledOff = &failure{unix.ECANCELED, "freeze: called off"}
)

// waiter is a request that is answered later by done; its conn is nil when there is none, or it is gone.
type waiter struct {
	conn *conn
	seq  uint32
}

// wait has a connection not end before its request is answered.
func (w *waiter) wait(c *conn, seq uint32) {
	c.due++
	*w = waiter{c, seq}
}

func (w *waiter) answer(value uint64, err error) {
	c := w.conn
	if c == nil {
		return
	}
	w.conn = nil
	c.doneLater(w.seq, value, err)
	c.sent()
}

func (w *waiter) forget(c *conn) {
	if w.conn == c {
		w.conn = nil
	}
}

// freeze is the request.
func (c *conn) freeze(p *framing.Part) error {
	ms, err := framing.ParseFreeze(p.Data)
	if err != nil {
		return err
	}
	a := c.agent
	f := &a.freezer
	after := time.Duration(ms) * time.Millisecond
	switch {
	case a.cfg.FreezeFD == 0:
		c.done(p.Seq, 0, errNoFreeze)
	case after == 0 || after > maxFreeze:
		c.done(p.Seq, 0, &failure{unix.EINVAL, "freeze: not for 1 to " + num(int64(maxFreeze/time.Millisecond)) + " ms"})
	case f.state != thawed:
		c.done(p.Seq, 0, errFrozen)
	case a.down != downNot:
		c.done(p.Seq, 0, errGoingDown)
	default:
		f.agent, f.after = a, after
		f.freeze.wait(c, p.Seq)
		f.begin()
	}
	return nil
}

// thaw is the request.
func (c *conn) thaw(p *framing.Part) error {
	f := &c.agent.freezer
	switch {
	case c.agent.cfg.FreezeFD == 0:
		c.done(p.Seq, 0, errNoFreeze)
	case f.state == thawed || f.calledOff:
		c.done(p.Seq, 0, errNotFrozen)
	case f.state == freezing:
		f.calledOff = true
		f.thaw.wait(c, p.Seq)
	default:
		c.done(p.Seq, 0, f.undo())
	}
	return nil
}

// begin has a child freeze: first all that is dirty is written, which may take long.
func (f *freezer) begin() {
	a := f.agent
	f.state = freezing
	if len(a.cfg.JobCommand) > 0 {
		if err := a.startJob(&f.child, jobFreeze, a.cfg.FreezeFD, f); err != nil {
			f.failed(err)
		}
		return
	}
	f.frozen(freezeFD(a.cfg.FreezeFD))
}

// freezeStdin is the job.
func freezeStdin() error { return freezeFD(0) }

// freezeFD writes what is dirty before it freezes, so that nobody waits for that.
func freezeFD(fd int) error {
	if err := unix.Syncfs(fd); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, fiFreeze, 0)
}

// Exited implements [reactor.ChildHandler].
func (f *freezer) Exited(status unix.WaitStatus) {
	errno := jobErrno(status)
	if status.Signaled() {
		unix.IoctlSetInt(f.agent.cfg.FreezeFD, fiThaw, 0) // it may have got that far
	}
	if errno != 0 {
		f.frozen(errno)
	} else {
		f.frozen(nil)
	}
}

// frozen is the end of freezing.
func (f *freezer) frozen(err error) {
	a := f.agent
	f.state = frozen
	switch {
	case err != nil:
		f.failed(opError("freeze", "", err))
	case f.calledOff || a.down != downNot:
		f.thaw.answer(0, f.undo())
		f.freeze.answer(0, errCalledOff)
	default:
		a.log.Info("file system frozen", "for", num(f.after.Milliseconds())+"ms")
		a.loop.Start(&f.timer, f.after, f)
		f.freeze.answer(0, nil)
	}
}

func (f *freezer) failed(err error) {
	f.release()
	f.freeze.answer(0, err)
	f.thaw.answer(0, nil)
}

// Expired implements [reactor.TimerHandler]: nobody has thawed it.
func (f *freezer) Expired(*reactor.Timer) {
	f.agent.log.Warn("file system was frozen for too long")
	f.undo()
}

// undo thaws. That writes one block of the disk, the superblock.
func (f *freezer) undo() error {
	a := f.agent
	err := unix.IoctlSetInt(a.cfg.FreezeFD, fiThaw, 0)
	if err != nil && err != unix.EINVAL { // EINVAL: somebody else has thawed it
		a.log.Error("not thawed, trying on", "error", err.Error())
		a.loop.Start(&f.timer, thawAgain, f)
		return opError("thaw", "", err)
	}
	a.log.Info("file system thawed")
	f.release()
	return nil
}

// release goes on with what waited.
func (f *freezer) release() {
	f.state, f.calledOff = thawed, false
	f.timer.Stop()
	captures, copies, stagings, files := f.captures, f.copies, f.stagings, f.files
	f.captures, f.copies, f.stagings, f.files = nil, nil, nil, nil
	for _, o := range captures {
		o.resume()
	}
	for _, w := range copies {
		w.resume()
	}
	for i := range stagings {
		stagings[i].discard(f.agent)
	}
	for _, fd := range files {
		unix.Close(fd)
	}
}

// end thaws what is frozen, because the machine goes down or the agent ends. What is freezing is thawed when it is frozen.
func (f *freezer) end() {
	if f.state == frozen {
		f.undo()
	}
}

// forget drops the requests of a connection that is gone.
func (f *freezer) forget(c *conn) {
	f.freeze.forget(c)
	f.thaw.forget(c)
}

// Failed implements [reactor.Failer].
func (f *freezer) Failed(value any, stack []byte) { f.agent.logPanic("freeze", value, stack) }

// isFrozen reports whether a write may wait for a thaw, or for ever, as on a disk that is settled.
func (a *Agent) isFrozen() bool { return a.freezer.state != thawed || a.down == downSettled }

// mayWrite says whether something can be written in a directory without waiting for a thaw. The file system that is frozen is the upper one
// of the root, an overlayfs, so a directory of any overlayfs is taken for its.
func (a *Agent) mayWrite(dir string) error {
	if !a.isFrozen() {
		return nil
	}
	var at, held unix.Statfs_t
	if unix.Statfs(dir, &at) != nil || unix.Fstatfs(a.cfg.FreezeFD, &held) != nil ||
		int64(at.Type) == unix.OVERLAYFS_SUPER_MAGIC || at.Fsid == held.Fsid {
		return errFrozen
	}
	return nil
}

// closeUnlinked closes a file that has no name, or may have none, and with that removes it.
func (a *Agent) closeUnlinked(fd int) {
	if a.isFrozen() {
		a.freezer.files = append(a.freezer.files, fd)
		return
	}
	unix.Close(fd)
}
