package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// pressureFiles are the files in which the kernel reports stalls; Documentation/accounting/psi.rst.
// A kernel without PSI, or with psi=0, has none.
var pressureFiles = [...]string{
	framing.PressureMemory: "/proc/pressure/memory",
	framing.PressureCPU:    "/proc/pressure/cpu",
	framing.PressureIO:     "/proc/pressure/io",
}

// maxPressures limits the pressures watched at a time, for all hosts together. For each, the kernel
// updates its averages several times in a window.
const maxPressures = 8

// pressure is a channel that sends figures when tasks have stalled for too long. A slow host gets
// the figures of the moment at which it takes them.
type pressure struct {
	reactor.Descriptor
	service *Service
	conn    *wire.Conn
	seq     uint32
}

// pressure handles a pressure request: it opens the channel.
func (s *Service) pressure(c *wire.Conn, p *framing.Part) error {
	ask, err := framing.ParsePressure(p.Data)
	if err != nil {
		return err
	}
	if !c.MayOpen(p.Seq) {
		return nil
	}
	fd, err := s.openPressure(ask)
	c.Done(p.Seq, 0, err)
	if err != nil {
		return nil
	}
	w := &pressure{service: s, conn: c, seq: p.Seq}
	s.pressures++
	s.Loop.Attach(&w.Descriptor, fd, w)
	w.Want(reactor.Exception)
	c.OpenChannel(p.Seq, w)
	return nil
}

// openPressure sets a trigger. The file then polls as POLLPRI at most once in a window. The trigger
// lasts until the descriptor is closed. Without CAP_SYS_RESOURCE, kernels before 6.5 refuse it, and
// later ones want a window that is a multiple of 2 s.
func (s *Service) openPressure(ask framing.Pressure) (fd int, err error) {
	switch {
	case int(ask.Resource) >= len(pressureFiles):
		words := "pressure: unknown resource " + sys.Num(uint32(ask.Resource))
		return -1, &sys.WordedError{Errno: unix.EINVAL, Words: words}
	case s.pressures == maxPressures:
		words := "too many pressures watched (limit " + sys.Num(maxPressures) + ")"
		return -1, &sys.WordedError{Errno: unix.EMFILE, Words: words}
	}
	trigger := "some " + sys.Num(ask.StallUS) + " " + sys.Num(ask.WindowUS)
	return sys.OpenTrigger(pressureFiles[ask.Resource], trigger)
}

// Ready implements [reactor.Handler].
func (w *pressure) Ready(ev reactor.Events) {
	switch {
	case ev&reactor.HungUp != 0:
		w.finish()
	default:
		w.conn.Queue(w)
	}
}

// Failed implements [reactor.Failer].
func (w *pressure) Failed(value any, stack []byte) {
	w.service.Log.Panic("pressure", value, stack)
	w.finish()
}

// Produce implements [wire.Producer]. It sends the figures of the first line, that for stalls of
// some tasks:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
func (w *pressure) Produce() (more bool) {
	w.service.Garbage.Collect(errorGarbage)
	var buf [256]byte
	n, err := unix.Pread(w.FD(), buf[:], 0)
	if err != nil {
		return false
	}
	var f framing.Figures
	line, _, _ := sys.Cut(string(buf[:n]), '\n')
	for word, rest, _ := sys.Cut(line, ' '); word != ""; word, rest, _ = sys.Cut(rest, ' ') {
		switch name, text, _ := sys.Cut(word, '='); name {
		case "avg10", "avg60":
			hundredths, _, _ := sys.TakeHundredths(text)
			f.Add("pressure."+name, hundredths)
		case "total":
			total, _, _ := sys.TakeNumber(text)
			f.Add("pressure.total", total)
		}
	}
	w.conn.Reply(framing.AppendFigures(w.conn.Space(pressureRoom), w.seq, f))
	return false
}

// pressureRoom is enough for the three figures, each 8 bytes and a name of at most 14.
const pressureRoom = framing.HeaderSize + 2 + 3*(1+14+8)

// finish closes the channel from the guest's side.
func (w *pressure) finish() {
	c := w.conn
	w.Lost()
	c.CloseChannel(w)
	c.ReplyLater(framing.AppendClose(nil, w.seq, framing.StreamOutput))
}

// End implements [wire.Channel].
func (w *pressure) End(s framing.Stream) {
	if s == framing.StreamInput {
		w.Lost()
		w.conn.CloseChannel(w)
	}
}

// Lost implements [wire.Channel].
func (w *pressure) Lost() {
	if w.Open() {
		w.service.pressures--
	}
	w.Close()
}
