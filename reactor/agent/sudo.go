package agent

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// sudoWrite puts a staged content in place as root, for an agent that is not root: sudo -n mkdir -p if the directory is
// missing, then sudo -n tee with the staged file as its input. It is not atomic, for tee is not.
type sudoWrite struct {
	wanted bool
	upload *upload
	child  reactor.Child
	stderr capture
	timer  reactor.Timer
	tee    bool // it is tee that runs
	exited bool
	killed bool // it took too long
	closed bool
	code   int
}

func (w *sudoWrite) begin(u *upload) {
	w.upload = u
	path := u.target.Path
	if path == "" {
		w.end(errors.New("path is empty"))
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
	a := w.upload.conn.agent
	w.exited = false
	stderr, err := w.stderr.open(a, w)
	if err != nil {
		w.end(err)
		return
	}
	w.stderr.limit = maxText / 2
	spec := reactor.Command{
		Path:   "sudo",
		Search: a.env.SudoPath(),
		Args:   append([]string{"sudo", "-n"}, args...),
		Files:  [3]int{a.null, a.null, stderr},
	}
	if w.tee { // a sudo that logs its input reads it, whoever it is for
		spec.Files[0] = w.upload.stage.FD
	}
	err = a.loop.Spawn(&w.child, &spec, w)
	unix.Close(stderr)
	if err != nil {
		w.end(err)
		return
	}
	a.loop.Start(&w.timer, commitTimeout, w)
}

// Exited implements [reactor.ChildHandler].
func (w *sudoWrite) Exited(status unix.WaitStatus) {
	w.exited, w.code = true, status.ExitStatus()
	if err := w.child.Failure(); err != nil && !w.closed {
		w.end(err)
		return
	}
	if !w.closed {
		w.upload.conn.agent.loop.Start(&w.timer, pipeGrace, w)
		w.ended()
	}
}

// ended is called at the end of stderr.
func (w *sudoWrite) ended() {
	if w.exited && w.stderr.ended && !w.closed {
		w.done()
	}
}

// Expired implements [reactor.TimerHandler]: it took too long, or someone holds stderr.
func (w *sudoWrite) Expired(*reactor.Timer) {
	switch {
	case w.exited:
		w.done()
	case !w.killed:
		w.killed = true
		w.child.SignalGroup(unix.SIGKILL)
		w.upload.conn.agent.loop.Start(&w.timer, killGrace, w)
	default:
		// Who is not root may not kill what is.
		w.end(sys.NewError("sudo", w.upload.target.Path, unix.ETIMEDOUT))
	}
}

// Failed implements [reactor.Failer].
func (w *sudoWrite) Failed(value any, stack []byte) {
	w.upload.conn.agent.log.Panic("write_file", value, stack)
}

// done is the end of one command.
func (w *sudoWrite) done() {
	text := make([]byte, w.stderr.kept)
	w.stderr.read(text, 0)
	w.release()
	switch {
	case w.killed:
		w.end(sys.NewError("sudo", w.upload.target.Path, unix.ETIMEDOUT))
	case w.code != 0:
		for len(text) > 0 && text[len(text)-1] <= ' ' {
			text = text[:len(text)-1]
		}
		if len(text) == 0 {
			text = []byte("exit status " + sys.Num(w.code))
		}
		w.end(errors.New("sudo: " + string(text)))
	case !w.tee:
		w.runTee()
	default:
		w.end(nil)
	}
}

func (w *sudoWrite) end(err error) {
	w.close()
	w.upload.err = err
	w.upload.reply()
}

// release gives back what a command's stderr took.
func (w *sudoWrite) release() {
	w.timer.Stop()
	if w.stderr.agent != nil {
		w.stderr.close()
		w.stderr.release()
	}
}

// close gives up. Doing it again does nothing, and neither does an exit that comes later.
func (w *sudoWrite) close() {
	w.closed = true
	w.release()
}
