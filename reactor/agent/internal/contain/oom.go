package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// oomScore is the oom_score_adj of this process (proc(5)). It is -1000, so that the OOM killer
// never chooses the agent. Every child has 0. A child inherits it at the fork and may fork at once,
// so the agent raises its own for the moment of the fork.
type oomScore struct {
	fd      int
	lowered bool
}

const (
	oomNever   = "-1000"
	oomDefault = "0"
)

func (o *oomScore) lower(t *Pool) {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		o.fd, t.Missing.OOM = -1, err.Error()
		t.log.Warn("not protected from the OOM killer", "error", t.Missing.OOM)
		return
	}
	o.fd = fd
	if !o.set(oomNever) {
		t.Missing.OOM = "requires CAP_SYS_RESOURCE"
		t.log.Info("not protected from the OOM killer", "error", t.Missing.OOM)
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
		o.fd = -1
	}
}
