package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// pressureFiles are where the kernel tells of stalls; Documentation/accounting/psi.rst. A kernel without them, or started with psi=0, has
// none.
var pressureFiles = [...]string{
	framing.PressureMemory: "/proc/pressure/memory",
	framing.PressureCPU:    "/proc/pressure/cpu",
	framing.PressureIO:     "/proc/pressure/io",
}

// maxPressures is the most pressures that are watched at a time, for all hosts: each costs the kernel a look at its averages
// several times in each window.
const maxPressures = 8

// pressure is a channel on which figures are sent when the kernel says that tasks stalled for too long. A host that is slow to take them gets
// those of the moment when it does.
type pressure struct {
	reactor.Descriptor
	service *Service
	conn    *wire.Conn
	seq     uint32
}

// pressure opens a channel.
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

// openPressure has the kernel watch: the file is exceptional (POLLPRI) at most once in a window, and the trigger goes with its
// descriptor. Who has no CAP_SYS_RESOURCE is refused by older kernels; since Linux 6.5 such a window is a multiple of 2 s.
func (s *Service) openPressure(ask framing.Pressure) (fd int, err error) {
	switch {
	case int(ask.Resource) >= len(pressureFiles):
		return -1, &sys.WordedError{Errno: unix.EINVAL, Words: "pressure: unknown resource " + sys.Num(uint32(ask.Resource))}
	case s.pressures == maxPressures:
		return -1, &sys.WordedError{Errno: unix.EMFILE, Words: "too many pressures watched (limit " + sys.Num(maxPressures) + ")"}
	}
	return sys.OpenTrigger(pressureFiles[ask.Resource], "some "+sys.Num(ask.StallUS)+" "+sys.Num(ask.WindowUS))
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

// Produce implements [wire.Producer]. The line of the tasks that stall now and then is the first:
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

// pressureRoom is enough for the figures: three, of 8 bytes and a name of at most 14.
const pressureRoom = framing.HeaderSize + 2 + 3*(1+14+8)

// over ends the channel from this side.
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
