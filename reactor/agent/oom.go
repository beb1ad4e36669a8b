package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// oomScore is this process's oom_score_adj (proc(5)): -1000, so that the kernel never takes the agent for what
// its commands ate, and 0 in every child. A child has what its parent had when it was forked, and may fork itself at once, so the
// agent's own is raised for the moment of the fork.
type oomScore struct {
	fd      int
	lowered bool
	reason  string // why not
}

const (
	oomNever   = "-1000"
	oomDefault = "0"
)

func (o *oomScore) lower(log *Log) {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		o.fd, o.reason = -1, err.Error()
		log.Warn("not protected from the OOM killer", "error", o.reason)
		return
	}
	o.fd = fd
	if !o.set(oomNever) {
		o.reason = "it takes CAP_SYS_RESOURCE"
		log.Info("not protected from the OOM killer", "error", o.reason)
		return
	}
	o.lowered = true
}

func (o *oomScore) set(score string) bool {
	_, err := sys.Pwrite(o.fd, []byte(score), 0)
	return err == nil
}

func (o *oomScore) forChild() {
	if o.lowered {
		o.set(oomDefault)
	}
}

func (o *oomScore) forSelf() {
	if o.lowered {
		o.set(oomNever)
	}
}

func (o *oomScore) close() {
	if o.fd >= 0 {
		unix.Close(o.fd)
	}
}
