package workload

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// factsRoom is enough for the facts of a service, in bytes.
	factsRoom = 900
	// factsGarbage is their garbage.
	factsGarbage = 2 << 10
)

// watcher is a services request that watches.
type watcher struct {
	room *Service
	conn *wire.Conn
	seq  uint32
	due  bool // a state has changed
}

// list handles a services request.
func (s *Service) list(c *wire.Conn, p *framing.Part) error {
	watch, err := framing.ParseServices(p.Data)
	switch {
	case err != nil:
		return err
	case !watch:
		s.reply(c, p.Seq)
	case c.MayOpen(p.Seq):
		w := &watcher{room: s, conn: c, seq: p.Seq, due: true}
		s.watchers = append(s.watchers, w)
		c.OpenChannel(p.Seq, w)
		c.Queue(w)
	}
	return nil
}

// reply sends the facts of all services.
func (s *Service) reply(c *wire.Conn, seq uint32) {
	s.Garbage.Collect(factsGarbage * len(s.units))
	var f framing.Facts
	s.AddFacts(&f)
	size := framing.HeaderSize + 2 + factsRoom*len(s.units)
	c.Reply(framing.AppendFacts(c.Space(size), seq, f))
}

// Produce implements [wire.Producer]. It sends the states of the moment.
func (w *watcher) Produce() (more bool) {
	if w.due {
		w.due = false
		w.room.reply(w.conn, w.seq)
	}
	return false
}

// End implements [wire.Channel].
func (w *watcher) End(stream framing.Stream) {
	if stream == framing.StreamInput {
		w.conn.CloseChannel(w)
		w.Lost()
		w.conn.Done(w.seq, 0, nil)
	}
}

// Lost implements [wire.Channel].
func (w *watcher) Lost() { w.room.watchers = sys.Remove(w.room.watchers, w) }

// control handles a service request.
func (s *Service) control(c *wire.Conn, p *framing.Part) error {
	r, err := framing.ParseService(p.Data)
	if err == nil {
		c.Done(p.Seq, 0, s.do(&r))
	}
	return err
}

var errDown = &sys.WordedError{Errno: unix.EBUSY, Words: "machine is going down"}

// do does what a host asks for. The error wraps ENOENT, EINVAL, EBUSY, EALREADY or ESRCH.
func (s *Service) do(r *framing.Service) error {
	u := s.find(string(r.Name))
	fail := func(errno unix.Errno) error {
		return sys.NewError("service", sys.Clip(string(r.Name), maxName), errno)
	}
	switch {
	case u == nil:
		return fail(unix.ENOENT)
	case r.Op > framing.ServiceSignal, r.Op == framing.ServiceSignal && r.Signal > maxSignal:
		return fail(unix.EINVAL)
	case s.stopping:
		return errDown
	case u.spec.wrong != "":
		return &sys.WordedError{Errno: unix.EINVAL, Words: u.spec.wrong}
	}
	switch runs := u.running(); r.Op {
	case framing.ServiceSignal:
		if !runs {
			return fail(unix.ESRCH)
		}
		u.process.Signal(unix.Signal(r.Signal))
	case framing.ServiceStop:
		u.hold(true)
	case framing.ServiceStart:
		if runs && !u.held {
			return fail(unix.EALREADY)
		}
		u.hold(false)
	default:
		if runs {
			u.hold(true)
		}
		u.hold(false)
	}
	return nil
}

// hold stops the service, or starts it. A service that is being stopped is started at its end.
func (u *unit) hold(stop bool) {
	u.held, u.again = stop, !stop
	switch {
	case u.running() && stop && !u.signalled:
		u.stop()
	case u.running():
	case stop:
		u.timer.Stop()
		u.enter(ended)
	default:
		u.tries, u.delay = 0, 0
		u.start()
	}
}
