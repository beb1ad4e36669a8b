package machine

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
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
	cancelled bool // a thaw came while it was freezing
	service   *Service
	child     reactor.Child
	notice    reactor.Descriptor // a byte of it: that it is frozen
	timeout   time.Duration
	freeze    wire.Waiter // who is to be told that it is frozen
	thaw      wire.Waiter // and who that it is not
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
	errCancelled = &sys.WordedError{Errno: unix.ECANCELED, Words: "freeze: called off"}
)

// freeze is the request.
func (s *Service) freeze(c *wire.Conn, p *framing.Part) error {
	ms, err := framing.ParseFreeze(p.Data)
	if err != nil {
		return err
	}
	f := &s.freezer
	after := time.Duration(ms) * time.Millisecond
	switch {
	case !s.canFreeze():
		c.Done(p.Seq, 0, errNoFreeze)
	case after == 0 || after > maxFreeze:
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: "freeze: not for 1 to " + sys.Num(int64(maxFreeze/time.Millisecond)) + " ms"})
	case f.state != thawed || f.child.Running():
		c.Done(p.Seq, 0, errFrozen)
	case s.stopping:
		c.Done(p.Seq, 0, ErrGoingDown)
	default:
		f.timeout = after
		if err := f.open(); err != nil {
			c.Done(p.Seq, 0, err)
		} else {
			f.freeze.Wait(c, p.Seq)
		}
	}
	return nil
}

// thaw is the request.
func (s *Service) thaw(c *wire.Conn, p *framing.Part) error {
	f := &s.freezer
	switch {
	case !s.canFreeze():
		c.Done(p.Seq, 0, errNoFreeze)
	case !f.canThaw():
		c.Done(p.Seq, 0, errNotFrozen)
	default:
		f.thawFor(c, p.Seq, 0)
	}
	return nil
}

// thawFor thaws, or calls the freeze off, and then answers the request seq of c with value.
func (f *freezer) thawFor(c *wire.Conn, seq uint32, value uint64) {
	f.thaw.Wait(c, seq)
	f.thaw.Value = value
	if f.state == freezing {
		f.cancelled = true
	} else if err := f.thawNow(); err != nil {
		f.thaw.Answer(err)
	}
}

// held reports whether a thaw has something to do: the file system is frozen, or is being frozen with no thaw asked for.
func (f *freezer) canThaw() bool { return f.state == frozen || f.state == freezing && !f.cancelled }

// canFreeze reports whether there is something to freeze, and somebody to do it.
func (s *Service) canFreeze() bool { return s.FreezeFD != 0 && len(s.Jobs.Command) > 0 }

// begin starts the child.
func (f *freezer) open() error {
	s := f.service
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return sys.NewError("pipe", "freeze", err)
	}
	err := s.Jobs.Start(&f.child, FreezeJob.Name, sys.Num(f.timeout.Milliseconds()), s.FreezeFD, p[1], f)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		return err
	}
	f.state = freezing
	s.Disk.Hold()
	s.Loop.Attach(&f.notice, p[0], f)
	f.notice.Want(reactor.Read)
	return nil
}

// FreezeJob freezes the file system of descriptor 0. First it writes what is dirty, so that no writer has to
// wait for that. It says on stdout that it has frozen, and thaws when as many milliseconds have passed as its
// argument says. The agent kills it if it has thawed itself.
var FreezeJob = launch.Job{Name: "freeze", Do: freezeJob}

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
	n, err := unix.Read(f.notice.FD(), b[:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	f.notice.Close()
	if n != 1 {
		return // its exit says why
	}
	f.state = frozen
	if f.cancelled || f.service.stopping {
		f.freeze.Answer(errCancelled)
		if err := f.thawNow(); err != nil {
			f.thaw.Answer(err)
		}
		return
	}
	f.service.Log.Info("file system frozen", "for", sys.Num(f.timeout.Milliseconds())+"ms")
	f.freeze.Answer(nil)
}

// Exited implements [reactor.ChildHandler].
func (f *freezer) Exited(status unix.WaitStatus) {
	f.notice.Close()
	errno := launch.JobErrno(&f.child, status)
	switch {
	case f.state == frozen:
		f.service.Log.Warn("file system was frozen for too long")
		f.thawNow()
	case f.state == freezing:
		// One that was killed may have got as far as that. One that has frozen and thawed was not heard in time. Where somebody else had frozen
		// before (EBUSY), it is for them to thaw.
		var err error
		if errno == unix.EBUSY {
			f.resume()
		} else {
			err = f.thawNow()
		}
		if errno == 0 {
			errno = unix.ETIMEDOUT
		}
		f.freeze.Answer(sys.NewError("freeze", "", errno))
		f.thaw.Answer(err)
	}
	f.thaw.Answer(nil)
}

// undo thaws, and has what waited for that go on. It writes one block of the disk, the superblock; if that fails it is frozen still. Who asked
// for it is answered when the child is gone.
func (f *freezer) thawNow() error {
	s := f.service
	if err := unix.IoctlSetInt(s.FreezeFD, fiThaw, 0); err == nil {
		s.Log.Info("file system thawed")
	} else if err != unix.EINVAL { // EINVAL: the child has, or somebody else
		f.state = frozen
		s.Log.Error("file system not thawed", "error", err.Error())
		return sys.NewError("thaw", "", err)
	}
	f.resume()
	if f.child.Running() {
		f.child.SignalGroup(unix.SIGKILL)
	} else {
		f.thaw.Answer(nil)
	}
	return nil
}

// goOn goes on with what waited for the thaw.
func (f *freezer) resume() {
	if f.state != thawed {
		f.state, f.cancelled = thawed, false
		f.service.Disk.Release()
	}
}

// end thaws what is frozen, because the machine goes down or the agent ends. What is freezing is thawed when it is frozen.
func (f *freezer) stop() {
	if f.state == frozen {
		f.thawNow()
	}
}

// forget drops the requests of a connection that is gone.
func (f *freezer) detach(c *wire.Conn) {
	f.freeze.Forget(c)
	f.thaw.Forget(c)
}

// Failed implements [reactor.Failer].
func (f *freezer) Failed(value any, stack []byte) { f.service.Log.Panic("freeze", value, stack) }
