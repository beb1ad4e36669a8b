package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// syncer carries out shutdown requests: every file system is synced, then they are acknowledged. A sync takes as long
// as the disk does, so a child makes it. Requests that come meanwhile wait for the next one, which knows of what was
// written before them.
type syncer struct {
	agent   *Agent
	child   reactor.Child
	current []syncRequest // of the sync that runs
	next    []syncRequest
}

type syncRequest struct {
	conn *conn // nil when it is gone
	seq  uint32
}

func (s *syncer) request(c *conn, seq uint32) {
	s.agent = c.agent
	if len(s.next) == maxSyncs {
		c.replyError(seq, "too many shutdowns under way (limit "+sys.Num(maxSyncs)+")")
		return
	}
	c.due++
	s.next = append(s.next, syncRequest{c, seq})
	if !s.child.Running() {
		s.begin()
	}
}

func (s *syncer) begin() {
	s.current, s.next = s.next, nil
	a := s.agent
	if len(a.cfg.JobCommand) > 0 {
		err := a.startJob(&s.child, jobSync, "", a.null, a.log.FD(), s)
		if err == nil {
			return
		}
		a.log.Warn("sync not started, done in place", "error", err.Error())
	}
	unix.Sync()
	s.finish()
}

// Exited implements [reactor.ChildHandler].
func (s *syncer) Exited(status unix.WaitStatus) {
	if status.ExitStatus() != 0 {
		unix.Sync()
	}
	s.finish()
}

func (s *syncer) finish() {
	for _, r := range s.current {
		if r.conn == nil {
			continue
		}
		r.conn.replyLater(framing.AppendFrame(nil, framing.TypeShutdownAck, r.seq, nil))
		r.conn.sent()
	}
	s.current = nil
	if len(s.next) > 0 && !s.child.Running() {
		s.begin()
	}
}

// forget drops the requests of a connection that is gone.
func (s *syncer) forget(c *conn) {
	for _, requests := range [...][]syncRequest{s.current, s.next} {
		for i := range requests {
			if requests[i].conn == c {
				requests[i].conn = nil
			}
		}
	}
}

// Failed implements [reactor.Failer].
func (s *syncer) Failed(value any, stack []byte) { s.agent.log.Panic("shutdown", value, stack) }
