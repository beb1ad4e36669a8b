package link

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Path is a path of the file system where the agent and its host meet. The first to come listens,
// and the other connects.
//
//	look ──nothing there──▶ listen ──path deleted or replaced──▶ look
//	  ├─deleted just now─▶ look every 10 ms, listen after 300 ms
//	  ├─a socket─▶ dial ──connected──▶ served ──connection ends──▶ look
//	  │             └─refused──▶ look; remove the socket after 300 ms of refusals
//	  └─another file─▶ error
type Path struct {
	base
	path string

	wait   backoff
	dial   reactor.Dial
	served uint32 // the connection that was dialled; 0 without one

	listener reactor.Listener
	own      inode // of the socket that listens
	watch    watch // of the path, while listening
	starved  bool  // AcceptFailed was called, and no connection was accepted since

	refuser inode         // the socket that refused last
	changed unix.Timespec // its change time; a new socket may have the same inode number
	since   time.Duration // reactor.Now of its first refusal
	seen    bool          // the last look found a file at the path, which another program may delete
	deleted time.Duration // reactor.Now when the path was found deleted; 0 if it was not
	said    string        // the failure that was logged last
	closed  bool
}

// NewPath returns a link that is not open yet.
func NewPath(host Host, loop *reactor.Loop, log *log.Log, path string) *Path {
	return &Path{base: base{host, loop, log}, path: path}
}

// PathError says why a path cannot be that of a socket.
type PathError struct {
	// Path is the path as it was given. Reason is in lower case.
	Path, Reason string
}

// Error returns the path and the reason.
func (e *PathError) Error() string { return "unix socket " + e.Path + ": " + e.Reason }

const (
	// deletedGrace is how long a deleted path is left to the host, which may be between unlink and
	// bind. deletedLook is the time between two looks meanwhile.
	deletedGrace = 300 * time.Millisecond
	deletedLook  = 10 * time.Millisecond
	// staleAfter is how long a Unix socket must refuse before it is removed as stale. Its host may
	// be between bind and listen.
	staleAfter = 300 * time.Millisecond
)

// sunPathMax is the longest path of a socket, in bytes: sun_path less a NUL; unix(7).
const sunPathMax = 107

// Open implements [Link]. Its error is a *PathError if the path can never be that of a socket.
// Other failures are retried for ever.
func (r *Path) Open() error {
	if r.path[0] == '@' {
		// Many programs take it for the name of an abstract socket, and some calls of this package
		// would.
		return &PathError{r.path, "path names an abstract socket; ./" + r.path + " names a file"}
	}
	if len(r.path) > sunPathMax {
		return &PathError{r.path,
			"path has " + sys.Num(len(r.path)) + " bytes, the limit is " + sys.Num(sunPathMax)}
	}
	if !dirExists(dirOf(r.path)) {
		return &PathError{r.path, "directory " + dirOf(r.path) + " does not exist"}
	}
	if id, _, err := inodeOf(r.path); err == nil && !id.socket {
		return &PathError{r.path, "file exists and is not a socket"}
	}
	r.look()
	return nil
}

// look acts on the file at the path.
func (r *Path) look() {
	id, _, err := inodeOf(r.path)
	if err == nil {
		r.seen, r.deleted = true, 0
	}
	switch {
	case err == unix.ENOENT && !dirExists(dirOf(r.path)):
		// A host may make the directory again, and bind in it.
		r.seen, r.deleted = true, 0
		r.retry(sys.NewError("lstat", dirOf(r.path), err))
	case err == unix.ENOENT:
		if r.leaveDeleted() {
			r.loop.Start(&r.wait.timer, deletedLook, r)
		} else {
			r.listen()
		}
	case err != nil:
		r.retry(sys.NewError("lstat", r.path, err))
	case !id.socket:
		r.retry(&PathError{r.path, "file exists and is not a socket"})
	default:
		r.loop.DialUnix(&r.dial, r.path, r)
	}
}

// leaveDeleted reports whether the path was deleted a moment ago. A host that unlinks a path is
// about to bind it, which would fail if the agent had bound it first.
func (r *Path) leaveDeleted() bool {
	if r.seen {
		r.seen, r.deleted = false, reactor.Now()
	}
	if r.deleted != 0 && reactor.Now()-r.deleted < deletedGrace {
		return true
	}
	r.deleted = 0
	return false
}

// retry logs a new failure and looks again after the next wait.
func (r *Path) retry(err error) {
	if text := err.Error(); text != r.said {
		r.said = text
		r.log.Info("host unreachable, retrying", "error", text)
	}
	r.wait.start(r.loop, r)
}

// Expired implements [reactor.TimerHandler].
func (r *Path) Expired(*reactor.Timer) {
	if !r.listener.Open() {
		r.look()
	} else if r.check(); r.listener.Open() {
		r.wait.start(r.loop, r)
	}
}

// Connected implements [reactor.DialHandler].
func (r *Path) Connected(fd int) {
	r.refuser = inode{}
	id, open := r.host.Accept(fd, r.path, r)
	if !open {
		// There were too many connections, or the host closed this one before the ready. Lost was
		// called before its id was known here.
		r.wait.start(r.loop, r)
		return
	}
	r.served = id
}

// DialFailed implements [reactor.DialHandler].
func (r *Path) DialFailed(err error) {
	if sys.IsErrno(err, unix.EPROTOTYPE) {
		r.retry(&PathError{r.path, "file exists and is not a stream socket"})
		return
	}
	if sys.IsErrno(err, unix.ECONNREFUSED) {
		id, changed, err := inodeOf(r.path)
		switch {
		case err != nil || id != r.refuser || changed != r.changed:
			// The first refusal of this socket.
			r.refuser, r.changed, r.since = id, changed, reactor.Now()
		case reactor.Now()-r.since >= staleAfter:
			r.removeStale()
		}
	}
	r.retry(err)
}

// Failed implements [reactor.Failer].
func (r *Path) Failed(value any, stack []byte) {
	r.log.Panic("rendezvous", value, stack)
	if !r.closed && !r.dial.Open() && !r.listener.Open() {
		r.wait.start(r.loop, r)
	}
}

// removeStale removes a socket without a listener. It renames the socket before it looks at it. If
// another program has put a socket there just now, it is linked back.
func (r *Path) removeStale() {
	aside := r.sibling()
	if unix.Rename(r.path, aside) != nil {
		return
	}
	if id, _, err := inodeOf(aside); err == nil && id != r.refuser {
		unix.Link(aside, r.path)
	} else {
		r.log.Info("stale socket removed", "path", r.path)
		r.wait.reset()
		r.seen = false
	}
	unix.Unlink(aside)
}

// listen binds a socket to a name in the same directory and links it to the path. Unlike a rename,
// a link never replaces a file that another program has just put there.
func (r *Path) listen() {
	beside := r.sibling()
	fd, err := r.bind(beside)
	if err != nil {
		r.retry(err)
		return
	}
	err = unix.Link(beside, r.path)
	id, _, statErr := inodeOf(beside)
	unix.Unlink(beside)
	if err == nil {
		err = statErr
	}
	if err != nil {
		unix.Close(fd)
		r.retry(sys.NewError("link", r.path, err))
		return
	}
	r.own = id
	r.said = ""
	r.wait.reset()
	r.loop.Listen(&r.listener, fd, r.path, r)
	r.log.Info("listening", "on", r.path)
	if err := r.watch.open(r.loop, r.path, r.check); err != nil {
		// A user may have only so many inotify watches. The path is checked in the longest wait
		// instead.
		r.log.Warn("path not watched, checking every second", "error", err.Error())
		r.wait.last = MaxBackoff
		r.wait.start(r.loop, r)
	}
	r.check() // the socket may be gone already
}

// sibling returns a temporary name in the directory of the path.
func (r *Path) sibling() string { return dirOf(r.path) + "/" + sys.TempName() }

// bind listens at a path, which may be longer than a socket address allows.
func (r *Path) bind(path string) (fd int, err error) {
	if len(path) <= sunPathMax {
		return reactor.ListenUnix(path)
	}
	dir, err := unix.Open(dirOf(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, sys.NewError("open", dirOf(path), err)
	}
	defer unix.Close(dir)
	return reactor.ListenUnix("/proc/self/fd/" + sys.Num(dir) + path[len(dirOf(path)):])
}

// check stops listening if the socket at the path is no longer the link's own.
func (r *Path) check() {
	if id, _, err := inodeOf(r.path); err == nil && id == r.own {
		return
	}
	r.log.Info("socket was replaced or deleted", "path", r.path)
	r.stopListening()
	r.wait.stop()
	r.wait.reset()
	r.seen = true
	r.look()
}

func (r *Path) stopListening() {
	r.listener.Close()
	r.watch.Close()
	r.own = inode{}
}

// Accepted implements [reactor.ListenHandler]. The mode of the socket decides which users may
// connect.
func (r *Path) Accepted(fd int, _ reactor.Peer) {
	r.starved = false
	r.host.Accept(fd, r.path, r)
}

// AcceptFailed implements [reactor.ListenHandler].
func (r *Path) AcceptFailed(err error) {
	if !r.starved {
		r.starved = true
		r.log.Warn("not accepting for now", "error", err.Error())
	}
	if !r.listener.Open() {
		r.removeOwn()
		r.retry(err)
	}
}

// Lost implements [Link].
func (r *Path) Lost(id uint32, useful, guest bool) {
	if r.closed || id != r.served {
		return
	}
	r.served = 0
	if guest {
		r.retry(&PathError{r.path, "another agent listens there"})
		return
	}
	if useful {
		r.said = ""
	}
	r.wait.lost(useful, r.loop, r)
}

// Dialed implements [Link].
func (r *Path) Dialed(id uint32) bool { return r.served == id }

// Vsock implements [Link].
func (r *Path) Vsock() bool { return false }

// Listening reports whether the link listens at the path.
func (r *Path) Listening() bool { return r.listener.Open() }

// Waits returns the last wait between attempts, and the reason that was logged last.
func (r *Path) Waits() (last time.Duration, reason string) { return r.wait.last, r.said }

// Close implements [Link].
func (r *Path) Close() {
	r.closed = true
	r.wait.stop()
	r.dial.Close()
	r.removeOwn()
}

// removeOwn removes the socket that the agent created, if it is still the one at the path.
func (r *Path) removeOwn() {
	if id, _, err := inodeOf(r.path); err == nil && id == r.own {
		unix.Unlink(r.path)
	}
	r.stopListening()
}

// inode identifies a file.
type inode struct {
	dev, ino uint64
	socket   bool
}

// inodeOf follows symbolic links. A dangling link counts as a file that is not a socket.
func inodeOf(path string) (id inode, changed unix.Timespec, err error) {
	var st unix.Stat_t
	err = unix.Stat(path, &st)
	if err == unix.ENOENT {
		err = unix.Lstat(path, &st)
	}
	if err != nil {
		return inode{}, changed, err
	}
	socket := st.Mode&unix.S_IFMT == unix.S_IFSOCK
	return inode{dev: st.Dev, ino: st.Ino, socket: socket}, st.Ctim, nil
}

func dirExists(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// dirOf returns the directory that a path is in.
func dirOf(path string) string {
	slash := sys.LastSlash(path)
	if slash < 0 {
		return "."
	}
	return path[:max(slash, 1)]
}
