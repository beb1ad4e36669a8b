package machine

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// Notice says how the machine's programs are told of a restore. The zero Notice tells none.
type Notice struct {
	Command framing.Words // run when everything is in place; none if there are no words
	Shell   bool          // Command is one line for the shell
	Timeout time.Duration // after which the command is killed; 0 means DefaultTimeout
	Signal  unix.Signal   // to the workload; 0 for none
}

// DefaultTimeout is the usual Timeout of a Notice.
const DefaultTimeout = 10 * time.Second

// epochName is the variable of the command's environment that has the new epoch.
const epochName = "WICK_EPOCH"

// noticeRun is a run of the command. Its result is due until the clone has it.
type noticeRun struct {
	clone   *clone
	process launch.Process
	done    bool
}

// run runs the command for a clone, outside the cgroup that may be frozen. Its output goes to the
// log.
func (n *Notice) run(o *clone) {
	s := o.service
	var args []string
	for word := range n.Command.All {
		args = append(args, string(word))
	}
	var added framing.Env
	added.Add([]byte(epochName), []byte(sys.Num(int64(o.result.Epoch))))
	env := s.Env.For(&launch.Account{}, added, false)
	spec := reactor.Command{
		Path: args[0], Search: s.Env.SearchPath(env), Args: args, Env: env,
		Files: [3]int{s.Null, s.Log.FD(), s.Log.FD()}, Wipe: len(s.Env.Secrets) > 0,
	}
	if n.Shell {
		spec.Path, spec.Search, spec.Args = launch.Shell, "", launch.ShellArgs(args[0])
	}
	r := &noticeRun{clone: o}
	p := &r.process
	p.Owner, p.Kind = r, framing.KindExec
	p.AddName([]byte(args[0]))
	p.TakeAside(s.Table)
	if err := p.Spawn(s.Table, &spec); err != nil {
		r.finish(0, err)
		return
	}
	timeout := n.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	p.SetDeadline(uint32(timeout.Milliseconds()))
}

// finish reports the result, once.
func (r *noticeRun) finish(code int32, err error) {
	if !r.done {
		r.done = true
		r.process.Finish()
		r.clone.ran(code, err)
	}
}

// Started implements [launch.Owner].
func (r *noticeRun) Started() {}

// NotStarted implements [launch.Owner].
func (r *noticeRun) NotStarted(f *launch.Failure) { r.finish(f.Code(), f.Err) }

// Exited implements [launch.Owner]. Processes that the command has left go on.
func (r *noticeRun) Exited() {
	r.process.ReturnBox()
	var err error
	if r.process.TimedOut() {
		err = errOverdue
	}
	r.finish(r.process.ExitCode(), err)
}

var errOverdue = &sys.WordedError{Errno: unix.ETIMEDOUT, Words: "restore-command: timed out"}

// Overdue implements [launch.Owner]. It is called if the process does not even end when killed.
func (r *noticeRun) Overdue() { r.finish(r.process.ExitCode(), errOverdue) }

// SignalGroup implements [launch.Owner].
func (r *noticeRun) SignalGroup(sig unix.Signal) { r.process.SignalGroup(sig) }

// Cancel implements [launch.Owner].
func (r *noticeRun) Cancel() { r.process.Kill() }

// Record implements [launch.Owner].
func (r *noticeRun) Record() framing.Process { return r.process.Record() }

// Failed implements [reactor.Failer].
func (r *noticeRun) Failed(value any, stack []byte) {
	r.clone.service.Log.Panic("restore-command", value, stack)
}
