package machine

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// maxSyncs limits the shutdown requests that wait for their sync.
const maxSyncs = 256

// SyncJob syncs every file system.
var SyncJob = launch.Job{Name: "sync", Do: func(string) error { unix.Sync(); return nil }}

// syncer serves shutdown requests. It syncs every file system, then acknowledges. A sync takes as
// long as the disk does, so a child makes it. Requests that arrive meanwhile wait for the next
// sync, because the current one may miss what was written before them.
type syncer struct {
	service *Service
	child   reactor.Child
	current []syncRequest // wait for the sync that runs
	next    []syncRequest // wait for the one after it
}

type syncRequest struct {
	conn *wire.Conn // nil once it is closed
	seq  uint32
}

// request handles a shutdown.
func (s *syncer) request(c *wire.Conn, p *framing.Part) error {
	if len(s.next) == maxSyncs {
		return errors.New("too many shutdowns under way (limit " + sys.Num(maxSyncs) + ")")
	}
	c.Owe()
	s.next = append(s.next, syncRequest{c, p.Seq})
	if !s.child.Running() {
		s.start()
	}
	return nil
}

// start starts a sync for the requests in next. If no child can be started, it syncs in this
// process.
func (s *syncer) start() {
	s.current, s.next = s.next, nil
	svc := s.service
	err := svc.Jobs.Start(&s.child, SyncJob.Name, "", svc.Null, svc.Log.FD(), s)
	if err == nil {
		return
	}
	if len(svc.Jobs.Command) > 0 {
		svc.Log.Warn("no child for the sync, syncing in the agent", "error", err.Error())
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

// finish acknowledges the requests whose sync has ended, and starts the next.
func (s *syncer) finish() {
	for _, r := range s.current {
		if r.conn == nil {
			continue
		}
		r.conn.ReplyLater(framing.AppendFrame(nil, framing.TypeShutdownAck, r.seq, nil))
		r.conn.Sent()
	}
	s.current = nil
	if len(s.next) > 0 && !s.child.Running() {
		s.start()
	}
}

// detach drops the requests of a connection that is gone.
func (s *syncer) detach(c *wire.Conn) {
	for _, requests := range [...][]syncRequest{s.current, s.next} {
		for i := range requests {
			if requests[i].conn == c {
				requests[i].conn = nil
			}
		}
	}
}

// Failed implements [reactor.Failer].
func (s *syncer) Failed(value any, stack []byte) { s.service.Log.Panic("shutdown", value, stack) }
