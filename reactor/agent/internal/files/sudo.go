package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// sudoWrite puts staged content in place as root, for an agent that is not root. It runs sudo -n
// mkdir -p if the directory is missing, then sudo -n tee with the staged file as stdin. It is not
// atomic, because tee is not.
type sudoWrite struct {
	wanted bool
	upload *upload
	child  reactor.Child
	stderr int // a memfd; 0 for none
	timer  reactor.Timer
	tee    bool // tee is running, not mkdir
	killed bool // it has timed out
	closed bool
}

// open starts the first command.
func (w *sudoWrite) open(u *upload) {
	w.upload = u
	path := u.target.Path
	if path == "" {
		w.finish(errors.New("path is empty"))
		return
	}
	var st unix.Stat_t
	if slash := sys.LastSlash(path); slash > 0 && unix.Stat(path[:slash], &st) != nil {
		w.run("mkdir", "-p", "--", path[:slash])
		return
	}
	w.runTee()
}

func (w *sudoWrite) runTee() {
	w.tee = true
	if w.upload.append {
		w.run("tee", "-a", "--", w.upload.target.Path)
		return
	}
	w.run("tee", "--", w.upload.target.Path)
}

func (w *sudoWrite) run(args ...string) {
	s := w.upload.service
	stderr, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		w.finish(sys.NewError("memfd_create", "stderr", err))
		return
	}
	w.stderr = stderr
	spec := reactor.Command{
		Path:   "sudo",
		Search: s.SudoPath,
		Args:   append([]string{"sudo", "-n"}, args...),
		Files:  [3]int{s.Null, s.Null, stderr},
	}
	if w.tee { // mkdir gets none, because a sudo that logs input would consume it
		spec.Files[0] = w.upload.stage.FD
	}
	if err := s.Loop.Spawn(&w.child, &spec, w); err != nil {
		w.finish(err)
		return
	}
	s.Loop.Start(&w.timer, commitTimeout, w)
}

// Exited implements [reactor.ChildHandler].
func (w *sudoWrite) Exited(status unix.WaitStatus) {
	if w.closed {
		return
	}
	if err := w.child.Failure(); err != nil {
		w.finish(err)
		return
	}
	text := w.stderrText()
	w.closeCommand()
	switch code := status.ExitStatus(); {
	case w.killed:
		w.finish(sys.NewError("sudo", w.upload.target.Path, unix.ETIMEDOUT))
	case code != 0 && text == "":
		w.finish(errors.New("sudo: exit status " + sys.Num(code)))
	case code != 0:
		w.finish(errors.New("sudo: " + text))
	case !w.tee:
		w.runTee()
	default:
		w.finish(nil)
	}
}

// stderrText returns the beginning of what the program wrote to stderr, without trailing space.
func (w *sudoWrite) stderrText() string {
	text := make([]byte, wire.MaxText/2)
	n, _ := sys.Pread(w.stderr, text, 0)
	for n > 0 && text[n-1] <= ' ' {
		n--
	}
	return string(text[:max(n, 0)])
}

// Expired implements [reactor.TimerHandler]: the command has timed out.
func (w *sudoWrite) Expired(*reactor.Timer) {
	if !w.killed {
		w.killed = true
		w.child.SignalGroup(unix.SIGKILL)
		w.upload.service.Loop.Start(&w.timer, launch.KillGrace, w)
		return
	}
	// Only root may kill a process of root, so this one may never exit.
	w.finish(sys.NewError("sudo", w.upload.target.Path, unix.ETIMEDOUT))
}

// Failed implements [reactor.Failer].
func (w *sudoWrite) Failed(value any, stack []byte) {
	w.upload.service.Log.Panic("write_file", value, stack)
}

// finish ends the upload with err, or nil.
func (w *sudoWrite) finish(err error) {
	w.close()
	w.upload.err = err
	w.upload.finish()
}

// closeCommand releases what one command holds.
func (w *sudoWrite) closeCommand() {
	w.timer.Stop()
	if w.stderr != 0 {
		unix.Close(w.stderr)
		w.stderr = 0
	}
}

// close gives up. It may be called again. The child may exit later.
func (w *sudoWrite) close() {
	w.closed = true
	w.closeCommand()
}
