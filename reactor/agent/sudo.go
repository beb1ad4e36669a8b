package agent

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"wick/reactor"
)

// sudoWrite puts a staged content in place as root, for an agent that is not root: sudo -n mkdir -p if the directory is
// missing, then sudo -n tee with the staged file as its input. It is not atomic, for tee is not.
type sudoWrite struct {
	wanted bool
	upload *upload
	child  reactor.Child
	stderr capture
	timer  reactor.Timer
	steps  [][]string // the commands still to run
	exited bool
	code   int
}

func (w *sudoWrite) begin(u *upload) {
	w.upload = u
	path := u.target.path
	if path == "" {
		w.end(errors.New("path is empty"))
		return
	}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		if dir := path[:i]; unix.Access(dir, unix.F_OK) == unix.ENOENT {
			w.steps = append(w.steps, []string{"sudo", "-n", "mkdir", "-p", "--", dir})
		}
	}
	w.steps = append(w.steps, []string{"sudo", "-n", "tee", "--", path})
	w.step()
}

// step runs the next command.
func (w *sudoWrite) step() {
	a := w.upload.conn.agent
	args := w.steps[0]
	w.steps = w.steps[1:]
	w.exited = false
	unix.Seek(w.upload.stage.fd, 0, 0)
	stderr, err := w.stderr.open(a, w)
	if err != nil {
		w.end(err)
		return
	}
	w.stderr.limit = maxText / 2
	spec := reactor.Command{Path: a.lookPath("sudo"), Args: args, Env: a.env, Files: [3]int{w.upload.stage.fd, a.null, stderr}}
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
	w.upload.conn.agent.loop.Start(&w.timer, pipeGrace, w)
	w.ended()
}

// ended is called at the end of stderr.
func (w *sudoWrite) ended() {
	if w.exited && w.stderr.ended {
		w.done()
	}
}

// Expired implements [reactor.TimerHandler]: it took too long, or someone holds stderr.
func (w *sudoWrite) Expired(*reactor.Timer) {
	if w.exited {
		w.done()
		return
	}
	w.child.SignalGroup(unix.SIGKILL)
}

// done is the end of one command.
func (w *sudoWrite) done() {
	w.timer.Stop()
	text := make([]byte, w.stderr.kept)
	w.stderr.read(text, 0)
	w.stderr.pipe.Close()
	w.stderr.release()
	switch {
	case w.code != 0:
		reason := strings.TrimSpace(string(text))
		if reason == "" {
			reason = "exit status " + num(w.code)
		}
		w.end(errors.New("sudo: " + reason))
	case len(w.steps) > 0:
		w.step()
	default:
		w.end(nil)
	}
}

func (w *sudoWrite) end(err error) {
	w.upload.err = err
	w.upload.reply()
}
