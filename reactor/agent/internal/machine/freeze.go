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

// freezer freezes the writable file system for a snapshot of its disk (FIFREEZE and FITHAW of
// linux/fs.h).
//
//	thawed ──freeze──▶ freezing ──the child has frozen it──▶ frozen ──thaw, or timeout──▶ thawed
//	                      └─failed, or thaw requested──────────────────────────────────────▲
//
// On a frozen file system these block until the thaw: writing a file, removing one, and closing one
// that has no name. So from the start of the child the agent does none of them. It refuses
// write_file, write and change, leaves output that exceeds its memory in the pipe, and closes files
// after the thaw.
//
// It looks up no path for a write_file either. On overlayfs a process that is blocked while it
// creates a file holds the lock of the directory, and every lookup there blocks behind it.
//
// Lookups of programs to execute, and of files that a host reads, remain. They can block the loop,
// but no longer than the host's timeout: the child is a watchdog that thaws by itself.
type freezer struct {
	state     freezeState
	cancelled bool // a thaw was requested while freezing
	service   *Service
	child     reactor.Child
	notice    reactor.Descriptor // readable when the child has frozen the file system
	timeout   time.Duration      // after which the child thaws
	freeze    wire.Waiter        // the request to answer once frozen
	thaw      wire.Waiter        // the request to answer once thawed
}

// freezeState is the state of the file system as far as the agent knows.
type freezeState uint8

const (
	thawed   freezeState = iota // the file system is writable
	freezing                    // the child runs, and has not reported yet
	frozen                      // writes block
)

// FIFREEZE and FITHAW: _IOWR('X', 119, int) and 120. The values hold on every architecture except
// mips, powerpc and sparc.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// maxFreeze limits the timeout of a freeze.
const maxFreeze = 60 * time.Second

var (
	errFrozen    = &sys.WordedError{Errno: unix.EBUSY, Words: "file system is frozen"}
	errNoFreeze  = &sys.WordedError{Errno: unix.EOPNOTSUPP, Words: "freeze: no disk to freeze"}
	errNotFrozen = &sys.WordedError{Errno: unix.EINVAL, Words: "thaw: file system is not frozen"}
	errCancelled = &sys.WordedError{Errno: unix.ECANCELED, Words: "freeze: cancelled by a thaw"}
)

// freeze handles a freeze.
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
		words := "freeze: timeout is not 1 to " + sys.Num(maxFreeze.Milliseconds()) + " ms"
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: words})
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

// thaw handles a thaw.
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

// thawFor thaws, or cancels the freeze, and then answers the request seq of c with value.
func (f *freezer) thawFor(c *wire.Conn, seq uint32, value uint64) {
	f.thaw.Wait(c, seq)
	f.thaw.Value = value
	if f.state == freezing {
		f.cancelled = true
	} else if err := f.thawNow(); err != nil {
		f.thaw.Answer(err)
	}
}

// canThaw reports whether a thaw has an effect: the file system is frozen, or is freezing and no
// thaw has been requested.
func (f *freezer) canThaw() bool { return f.state == frozen || f.state == freezing && !f.cancelled }

// canFreeze reports whether there is a file system to freeze, and a job to do it.
func (s *Service) canFreeze() bool { return s.FreezeFD != 0 && len(s.Jobs.Command) > 0 }

// open starts the child and holds the disk.
func (f *freezer) open() error {
	s := f.service
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return sys.NewError("pipe", "freeze", err)
	}
	ms := sys.Num(f.timeout.Milliseconds())
	err := s.Jobs.Start(&f.child, FreezeJob.Name, ms, s.FreezeFD, p[1], f)
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

// FreezeJob freezes the file system of descriptor 0, reports that on stdout, and thaws after as
// many milliseconds as its argument says. It first writes what is dirty, so that the freeze is
// short. The agent kills it after a thaw of its own.
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

// Ready implements [reactor.Handler]. It reads the child's report; end of file means that there
// will be none.
func (f *freezer) Ready(reactor.Events) {
	var b [1]byte
	n, err := unix.Read(f.notice.FD(), b[:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	f.notice.Close()
	if n != 1 {
		return // Exited follows, with the reason
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
		f.service.Log.Warn("freeze timed out")
		f.thawNow()
	case f.state == freezing:
		// A child that was killed may have frozen the file system before. One that exited with 0
		// has frozen and thawed before its report was read. EBUSY means that another program has
		// frozen it, and will thaw it.
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

// thawNow thaws and resumes what waited. A thaw writes the superblock; if that fails, the file
// system stays frozen. The requester is answered once the child is gone.
func (f *freezer) thawNow() error {
	s := f.service
	if err := unix.IoctlSetInt(s.FreezeFD, fiThaw, 0); err == nil {
		s.Log.Info("file system thawed")
	} else if err != unix.EINVAL { // EINVAL: thawed already, by the child or another program
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

// resume releases the disk, which resumes what waited for the thaw.
func (f *freezer) resume() {
	if f.state != thawed {
		f.state, f.cancelled = thawed, false
		f.service.Disk.Release()
	}
}

// stop thaws, because the machine goes down or the agent ends. A freeze under way is thawed once it
// is complete.
func (f *freezer) stop() {
	if f.state == frozen {
		f.thawNow()
	}
}

// detach drops the requests of a connection that is gone.
func (f *freezer) detach(c *wire.Conn) {
	f.freeze.Forget(c)
	f.thaw.Forget(c)
}

// Failed implements [reactor.Failer].
func (f *freezer) Failed(value any, stack []byte) { f.service.Log.Panic("freeze", value, stack) }
