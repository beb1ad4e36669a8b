package forward

import (
	"time"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// portsPause is the time between two looks while a host watches. portsSoon is the time between
	// two looks when processes start or exit.
	portsPause = time.Second
	portsSoon  = 100 * time.Millisecond
	// portsGarbage is the garbage of a look, and portsListGarbage that of a list, in bytes.
	portsGarbage     = 18 << 10
	portsListGarbage = 32 << 10
	// portRoom is enough for a record, in bytes: the address has at most 39 and the program 16.
	portRoom = 80
)

// ports is the newest list of listening sockets, while hosts watch it.
type ports struct {
	watchers int
	timer    reactor.Timer // until the next look
	looked   time.Duration // reactor.Now of the last one
	sockets  []byte
	list     []framing.Port
}

// watcher is a ports request. If it watches, it lasts.
type watcher struct {
	service *Service
	conn    *wire.Conn
	seq     uint32
	watch   bool
	due     bool // list is to be sent
	list    []framing.Port
}

// listPorts handles the request.
func (s *Service) listPorts(c *wire.Conn, p *framing.Part) error {
	watch, err := framing.ParsePorts(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	s.Garbage.Collect(linkGarbage)
	list, err := s.look()
	if err != nil {
		c.Done(p.Seq, 0, sys.NewError("sock_diag", "", err))
		return nil
	}
	w := &watcher{service: s, conn: c, seq: p.Seq, watch: watch}
	c.OpenChannel(p.Seq, w)
	if watch {
		s.open = append(s.open, w)
		if s.ports.watchers++; s.ports.watchers == 1 {
			s.Loop.Start(&s.ports.timer, portsPause, s)
		}
	}
	w.send(list)
	if s.ports.watchers == 0 {
		s.ports.drop()
	}
	return nil
}

// send queues a list.
func (w *watcher) send(list []framing.Port) {
	w.list, w.due = list, true
	w.conn.Queue(w)
}

// look returns the list, and keeps it while hosts watch it. They are sent a list that has changed.
func (s *Service) look() ([]framing.Port, error) {
	p := &s.ports
	s.Garbage.Collect(portsGarbage)
	sockets, err := allSockets()
	p.looked = reactor.Now()
	if err != nil {
		return nil, err
	}
	// While the sockets are the same, their owners are taken to be the same too.
	if p.watchers > 0 && string(sockets) == string(p.sockets) {
		return p.list, nil
	}
	s.Garbage.Collect(portsListGarbage)
	p.sockets, p.list = sockets, portsOf(sockets)
	for _, o := range s.open {
		if w, ok := o.(*watcher); ok {
			w.send(p.list)
		}
	}
	return p.list, nil
}

// Changed tells the service that a process has started or exited. The next look comes soon.
func (s *Service) Changed() {
	p := &s.ports
	if p.timer.Running() {
		s.Loop.Start(&p.timer, p.looked+portsSoon-reactor.Now(), s)
	}
}

// Expired implements [reactor.TimerHandler].
func (s *Service) Expired(*reactor.Timer) {
	s.look() // an error may pass
	s.Loop.Start(&s.ports.timer, portsPause, s)
}

// Failed implements [reactor.Failer].
func (s *Service) Failed(value any, stack []byte) { s.Log.Panic("ports", value, stack) }

// Produce implements [wire.Producer].
func (w *watcher) Produce() (more bool) {
	if !w.due {
		return false
	}
	list := w.list
	w.list, w.due = nil, false
	if !w.watch {
		w.conn.CloseChannel(w)
	}
	size := framing.HeaderSize + 2 + portRoom*len(list)
	w.conn.Reply(framing.AppendPortList(w.conn.Space(size), w.seq, list))
	return false
}

// End implements [wire.Channel].
func (w *watcher) End(s framing.Stream) {
	if s == framing.StreamInput {
		w.conn.CloseChannel(w)
		w.Lost()
		w.conn.Done(w.seq, 0, nil)
	}
}

// Lost implements [wire.Channel].
func (w *watcher) Lost() {
	s := w.service
	if !w.watch {
		return
	}
	s.open = sys.Remove(s.open, wire.Producer(w))
	if s.ports.watchers--; s.ports.watchers == 0 {
		s.ports.timer.Stop()
		s.ports.drop()
	}
}

// drop releases the list.
func (p *ports) drop() { p.sockets, p.list = nil, nil }
