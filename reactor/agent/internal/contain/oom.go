package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// The values of oom_score_adj (proc(5)): the OOM killer never chooses the agent, but may choose
// every command.
const (
	oomNever   = "-1000"
	oomDefault = "0"
)

// lowerOOMScore protects the agent from the OOM killer.
func (t *Pool) lowerOOMScore() {
	err := sys.WriteFile("/proc/self/oom_score_adj", oomNever)
	switch {
	case err == nil:
		t.oomScore = oomDefault
	case sys.IsErrno(err, unix.EACCES):
		t.Missing.OOM = "requires CAP_SYS_RESOURCE"
		t.log.Info("not protected from the OOM killer", "error", t.Missing.OOM)
	default:
		t.Missing.OOM = err.Error()
		t.log.Warn("not protected from the OOM killer", "error", t.Missing.OOM)
	}
}

// OOMScore returns the oom_score_adj that a command needs; empty if it is the agent's.
func (t *Pool) OOMScore() string { return t.oomScore }
