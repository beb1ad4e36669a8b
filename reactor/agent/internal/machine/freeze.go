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
// linux/fs.h). If asked it freezes the cgroup of all commands before that.
//
//	thawed ──freeze──▶ freezing ──the child has frozen it──▶ frozen ──thaw, or timeout──▶ thawed
//	                      └─failed, or thaw requested──────────────────────────────────────▲
//
// A restore thaws the file system first, and the commands when everything else is in place. The
// state is thawed between, and the child is still their watchdog.
//
// On a frozen file system these block until the thaw: writing a file, removing one, and closing
// one that has no name. So from the start of the child the agent does none of them. It refuses
// write_file, write and change, leaves output that exceeds its memory in the pipe, and closes
// files after the thaw.
//
// It looks up no path for a write_file either. On overlayfs a process that is blocked while it
// creates a file holds the lock of the directory, and every lookup there blocks behind it.
//
// Lookups of programs to execute, and of files that a host reads, remain. They can block the
// loop, but no longer than the host's timeout: the child is a watchdog that thaws by itself.
type freezer struct {
	state     freezeState
	cancelled bool // a thaw was requested while freezing
	service   *Service
	child     reactor.Child
	notice    reactor.Descriptor // readable when the child has frozen the file system
	timeout   time.Duration      // after which the child thaws
	disk      bool               // there is a file system to freeze
	commands  string             // the cgroup that is frozen too, or empty
	freeze    wire.Waiter        // the request to answer once frozen
	thaw      wire.Waiter        // the request to answer once thawed
	after     func(error)        // called when thaw is answered; nil for nothing
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
	errNoGroup   = &sys.WordedError{Errno: unix.EOPNOTSUPP, Words: "freeze: commands have no cgroup"}
	errRestless  = &sys.WordedError{Errno: unix.EAGAIN, Words: "freeze: commands did not freeze"}
	errNotFrozen = &sys.WordedError{Errno: unix.EINVAL, Words: "thaw: file system is not frozen"}
	errCancelled = &sys.WordedError{Errno: unix.ECANCELED, Words: "freeze: cancelled by a thaw"}
)

// freeze handles a freeze.
func (s *Service) freeze(c *wire.Conn, p *framing.Part) error {
	ms, flags, err := framing.ParseFreeze(p.Data)
	if err != nil {
		return err
	}
	f := &s.freezer
	after := time.Duration(ms) * time.Millisecond
	group := ""
	if flags&framing.FreezeCommands != 0 {
		group = s.Contain.Path()
	}
	switch {
	case flags&framing.FreezeCommands != 0 && group == "":
		c.Done(p.Seq, 0, errNoGroup)
	case len(s.Jobs.Command) == 0 || s.FreezeFD == 0 && group == "":
		c.Done(p.Seq, 0, errNoFreeze)
	case after == 0 || after > maxFreeze:
		words := "freeze: timeout is not 1 to " + sys.Num(maxFreeze.Milliseconds()) + " ms"
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: words})
	case f.state != thawed || f.child.Running():
		c.Done(p.Seq, 0, errFrozen)
	case s.stopping:
		c.Done(p.Seq, 0, ErrGoingDown)
	default:
		f.timeout, f.disk, f.commands = after, s.FreezeFD != 0, group
		if err := f.open(); err != nil {
			f.commands = ""
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
	case !s.canFreeze() && f.timeout == 0: // there never was a freeze
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
		f.answer(err)
	}
}

// answer answers who waits for the thaw.
func (f *freezer) answer(err error) {
	f.thaw.Answer(err)
	if after := f.after; after != nil {
		f.after = nil
		after(err)
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
	argument, fd := sys.Num(f.timeout.Milliseconds()), s.FreezeFD
	if f.commands != "" {
		argument += " " + f.commands
	}
	if !f.disk {
		fd = s.Null
	}
	err := s.Jobs.Start(&f.child, FreezeJob.Name, argument, fd, p[1], f)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		return err
	}
	f.state = freezing
	if f.disk {
		s.Disk.Hold()
	}
	s.Loop.Attach(&f.notice, p[0], f)
	f.notice.Want(reactor.Read)
	return nil
}

// FreezeJob freezes the file system of descriptor 0, reports that on stdout, and thaws after as
// many milliseconds as its argument says. If the argument goes on with a cgroup, it freezes that
// before. If descriptor 0 is no directory, it freezes no file system. It first writes what is
// dirty, so that the freeze is short. The agent kills it after a thaw of its own.
var FreezeJob = launch.Job{Name: "freeze", Do: freezeJob}

func freezeJob(argument string) error {
	ms, group, _ := sys.Cut(argument, ' ')
	n, _ := sys.ParseNumber(ms)
	var st unix.Stat_t
	disk := unix.Fstat(0, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	err := freezeGroup(group)
	if err == nil && disk {
		if err = unix.Syncfs(0); err == nil {
			err = unix.IoctlSetInt(0, fiFreeze, 0)
		}
	}
	if err != nil {
		thawGroup(group)
		return err
	}
	unix.Write(1, []byte{0})
	left := unix.NsecToTimespec(int64(n) * 1e6)
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
	if disk {
		unix.IoctlSetInt(0, fiThaw, 0)
	}
	thawGroup(group)
	return nil
}

// groupLimit limits how long processes may take to freeze. One that waits for a disk that does not
// answer takes as long as that.
const groupLimit = 5 * time.Second

// freezeGroup freezes the processes of a cgroup and of those below it, and waits until they are;
// "cgroup.freeze" of cgroups(7), since Linux 5.2. It does nothing without a cgroup.
func freezeGroup(group string) error {
	if group == "" {
		return nil
	}
	events := group + "/cgroup.events"
	fd, err := unix.Open(events, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := sys.WriteFile(group+"/cgroup.freeze", "1"); err != nil {
		return sys.ErrnoOf(err)
	}
	var buf [256]byte
	for end := reactor.Now() + groupLimit; ; {
		unix.Pread(fd, buf[:], 0) // poll waits for a change since
		if sys.ReadFigure(unix.AT_FDCWD, events, "frozen", buf[:]) != 0 {
			return nil
		}
		left := end - reactor.Now()
		if left <= 0 {
			return unix.EAGAIN
		}
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		unix.Poll(polled, int(left.Milliseconds())+1)
	}
}

// thawGroup thaws a cgroup, if there is one.
func thawGroup(group string) error {
	if group == "" {
		return nil
	}
	return sys.WriteFile(group+"/cgroup.freeze", "0")
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
			f.answer(err)
		}
		return
	}
	message := "file system frozen"
	if f.commands != "" {
		message = "commands frozen"
	}
	f.service.Log.Info(message, "for", sys.Num(f.timeout.Milliseconds())+"ms")
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
		// A child that was killed may have frozen the file system before. One that exited
		// with 0 has frozen and thawed before its report was read. EBUSY means that
		// another program has frozen it, and will thaw it.
		var err error
		restless := errno == unix.EAGAIN && f.commands != ""
		if errno == unix.EBUSY {
			f.resume()
			f.thawCommands()
		} else {
			err = f.thawNow()
		}
		if errno == 0 {
			errno = unix.ETIMEDOUT
		}
		if restless {
			f.freeze.Answer(errRestless)
		} else {
			f.freeze.Answer(sys.NewError("freeze", "", errno))
		}
		f.answer(err)
	default:
		f.thawCommands()
	}
	f.answer(nil)
}

// thawNow thaws everything and resumes what waited. The requester is answered once the child is
// gone.
func (f *freezer) thawNow() error {
	if err := f.thawDisk(); err != nil {
		return err
	}
	f.thawCommands()
	if f.child.Running() {
		f.child.SignalGroup(unix.SIGKILL)
	} else {
		f.answer(nil)
	}
	return nil
}

// thawDisk thaws the file system. A thaw writes the superblock; if that fails, the file system
// stays frozen.
func (f *freezer) thawDisk() error {
	s := f.service
	if !f.disk {
		f.resume()
		return nil
	}
	if err := unix.IoctlSetInt(s.FreezeFD, fiThaw, 0); err == nil {
		s.Log.Info("file system thawed")
	} else if err != unix.EINVAL { // EINVAL: thawed already, by the child or another program
		f.state = frozen
		s.Log.Error("file system not thawed", "error", err.Error())
		return sys.NewError("thaw", "", err)
	}
	f.resume()
	return nil
}

// thawCommands thaws the commands, if they are frozen.
func (f *freezer) thawCommands() {
	if err := thawGroup(f.commands); err != nil {
		f.service.Log.Error("commands not thawed", "error", err.Error())
	}
	f.commands = ""
}

// thawRest thaws the commands, which thawDisk has left as they were, unless the file system is
// still frozen. It calls then once the child is gone.
func (f *freezer) thawRest(then func(error)) {
	if f.state != thawed {
		then(nil)
		return
	}
	f.thawCommands()
	if !f.child.Running() {
		then(nil)
		return
	}
	f.after = then
	f.child.SignalGroup(unix.SIGKILL)
}

// resume releases the disk, which resumes what waited for the thaw.
func (f *freezer) resume() {
	if f.state != thawed {
		f.state, f.cancelled = thawed, false
		if f.disk {
			f.service.Disk.Release()
		}
	}
}

// stop thaws, because the machine goes down or the agent ends. A freeze under way is thawed once
// it is complete.
func (f *freezer) stop() {
	if f.state == frozen {
		f.thawNow()
	}
	if f.state == thawed {
		f.thawCommands()
	}
}

// detach drops the requests of a connection that is gone.
func (f *freezer) detach(c *wire.Conn) {
	f.freeze.Forget(c)
	f.thaw.Forget(c)
}

// Failed implements [reactor.Failer].
func (f *freezer) Failed(value any, stack []byte) { f.service.Log.Panic("freeze", value, stack) }
