package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// freezer holds the writable file system still, for a snapshot of its disk (FIFREEZE and FITHAW of linux/fs.h).
//
//	thawed ──freeze──▶ freezing ──the child says so──▶ frozen ──thaw, or the time is over──▶ thawed
//	                      └─it failed, or a thaw came─────────────────────────────────────────▲
//
// To write a file there, to remove one, even to close one that has no name any more, waits until it is thawed. So from the moment when the
// child is started the agent does none of that: a write_file, a write or a change is refused, output that does not fit in memory is left in
// its pipe, and files are closed afterwards. Nor is a path looked up for a write_file: a process that waits in the middle of making a file has
// its directory locked where the root is an overlayfs, and whoever looks for another name there waits with it.
//
// What is left is the lookup of a program to be executed, and of a file that a host wants to read. Should that hold up the loop, it is for no
// longer than the host has asked for: the child stays as the watchdog, and thaws without the agent.
type freezer struct {
	state     freezeState
	calledOff bool // a thaw came while it was freezing
	agent     *Agent
	child     reactor.Child
	said      reactor.Descriptor // a byte of it: that it is frozen
	after     time.Duration
	freeze    waiter // who is to be told that it is frozen
	thaw      waiter // and who that it is not

	// What waits for the thaw.
	captures []*capture
	copies   []*copying
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

// maxFreeze is the longest time for which a host may have the file system frozen.
const maxFreeze = 60 * time.Second

var (
	errFrozen    = &sys.WordedError{Errno: unix.EBUSY, Words: "file system is frozen"}
	errNoFreeze  = &sys.WordedError{Errno: unix.EOPNOTSUPP, Words: "freeze: no disk to freeze"}
	errNotFrozen = &sys.WordedError{Errno: unix.EINVAL, Words: "thaw: file system is not frozen"}
	errCalledOff = &sys.WordedError{Errno: unix.ECANCELED, Words: "freeze: called off"}
)

// waiter is a request that is answered later by done, with that value. Its conn is nil when there is no request, or
// when its connection is gone.
type waiter struct {
	conn  *conn
	seq   uint32
	value uint64
}

// wait keeps the connection from ending before its request is answered.
func (w *waiter) wait(c *conn, seq uint32) {
	c.due++
	*w = waiter{conn: c, seq: seq}
}

func (w *waiter) answer(err error) {
	c := w.conn
	if c == nil {
		return
	}
	w.conn = nil
	c.doneLater(w.seq, w.value, err)
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
	case !a.canFreeze():
		c.done(p.Seq, 0, errNoFreeze)
	case after == 0 || after > maxFreeze:
		c.done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: "freeze: not for 1 to " + sys.Num(int64(maxFreeze/time.Millisecond)) + " ms"})
	case f.state != thawed || f.child.Running():
		c.done(p.Seq, 0, errFrozen)
	case a.down != downNot:
		c.done(p.Seq, 0, errGoingDown)
	default:
		f.agent, f.after = a, after
		if err := f.begin(); err != nil {
			c.done(p.Seq, 0, err)
		} else {
			f.freeze.wait(c, p.Seq)
		}
	}
	return nil
}

// thaw is the request.
func (c *conn) thaw(p *framing.Part) error {
	a := c.agent
	f := &a.freezer
	switch {
	case !a.canFreeze():
		c.done(p.Seq, 0, errNoFreeze)
	case !f.held():
		c.done(p.Seq, 0, errNotFrozen)
	default:
		f.thawFor(c, p.Seq, 0)
	}
	return nil
}

// thawFor thaws, or calls the freeze off, and then answers the request seq of c with value.
func (f *freezer) thawFor(c *conn, seq uint32, value uint64) {
	f.thaw.wait(c, seq)
	f.thaw.value = value
	if f.state == freezing {
		f.calledOff = true
	} else if err := f.undo(); err != nil {
		f.thaw.answer(err)
	}
}

// held reports whether a thaw has something to do: the file system is frozen, or is being frozen with no thaw asked for.
func (f *freezer) held() bool { return f.state == frozen || f.state == freezing && !f.calledOff }

// canFreeze reports whether there is something to freeze, and somebody to do it.
func (a *Agent) canFreeze() bool { return a.cfg.FreezeFD != 0 && len(a.cfg.JobCommand) > 0 }

// begin starts the child.
func (f *freezer) begin() error {
	a := f.agent
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return sys.NewError("pipe", "freeze", err)
	}
	err := a.startJob(&f.child, jobFreeze, sys.Num(f.after.Milliseconds()), a.cfg.FreezeFD, p[1], f)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		return err
	}
	f.state = freezing
	a.loop.Attach(&f.said, p[0], f)
	f.said.Want(reactor.Read)
	return nil
}

// freezeJob is what the child does: it writes what is dirty, so that nobody has to wait for that, freezes, says so on stdout, and thaws when so many
// milliseconds have passed. It is killed if that has been done meanwhile.
func freezeJob(ms string) error {
	n, _ := sys.ParseNumber(ms)
	if err := unix.Syncfs(0); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(0, fiFreeze, 0); err != nil {
		return err
	}
	unix.Write(1, []byte{0})
	left := unix.NsecToTimespec(int64(n) * 1e6)
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
	unix.IoctlSetInt(0, fiThaw, 0)
	return nil
}

// Ready implements [reactor.Handler]: the child says that it is frozen, or will never say so.
func (f *freezer) Ready(reactor.Events) {
	var b [1]byte
	n, err := unix.Read(f.said.FD(), b[:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	f.said.Close()
	if n != 1 {
		return // its exit says why
	}
	f.state = frozen
	if f.calledOff || f.agent.down != downNot {
		f.freeze.answer(errCalledOff)
		if err := f.undo(); err != nil {
			f.thaw.answer(err)
		}
		return
	}
	f.agent.log.Info("file system frozen", "for", sys.Num(f.after.Milliseconds())+"ms")
	f.freeze.answer(nil)
}

// Exited implements [reactor.ChildHandler].
func (f *freezer) Exited(status unix.WaitStatus) {
	f.said.Close()
	errno := jobErrno(&f.child, status)
	switch {
	case f.state == frozen:
		f.agent.log.Warn("file system was frozen for too long")
		f.undo()
	case f.state == freezing:
		// One that was killed may have got as far as that. One that has frozen and thawed was not heard in time. Where somebody else had frozen
		// before (EBUSY), it is for them to thaw.
		var err error
		if errno == unix.EBUSY {
			f.goOn()
		} else {
			err = f.undo()
		}
		if errno == 0 {
			errno = unix.ETIMEDOUT
		}
		f.freeze.answer(sys.NewError("freeze", "", errno))
		f.thaw.answer(err)
	}
	f.thaw.answer(nil)
}

// undo thaws, and has what waited for that go on. It writes one block of the disk, the superblock; if that fails it is frozen still. Who asked
// for it is answered when the child is gone.
func (f *freezer) undo() error {
	a := f.agent
	if err := unix.IoctlSetInt(a.cfg.FreezeFD, fiThaw, 0); err == nil {
		a.log.Info("file system thawed")
	} else if err != unix.EINVAL { // EINVAL: the child has, or somebody else
		f.state = frozen
		a.log.Error("file system not thawed", "error", err.Error())
		return sys.NewError("thaw", "", err)
	}
	f.goOn()
	if f.child.Running() {
		f.child.SignalGroup(unix.SIGKILL)
	} else {
		f.thaw.answer(nil)
	}
	return nil
}

// goOn goes on with what waited for the thaw.
func (f *freezer) goOn() {
	a := f.agent
	f.state, f.calledOff = thawed, false
	captures, copies := f.captures, f.copies
	f.captures, f.copies = nil, nil
	for _, o := range captures {
		o.resume()
	}
	for _, w := range copies {
		w.resume()
	}
	a.disk.Thaw()
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
func (f *freezer) Failed(value any, stack []byte) { f.agent.log.Panic("freeze", value, stack) }

// isFrozen reports whether a write may wait for a thaw, or for ever, as on a disk that is settled.
func (a *Agent) isFrozen() bool { return a.freezer.state != thawed || a.down == downSettled }
