package evidence

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves, with the I/O of receipts.
const Features = framing.FeatureEvidence

const (
	// maxLogs is the most kernel_logs that are open at a time, over all connections. The
	// kernel has a buffer of 8 KiB for each.
	maxLogs = 8
	// logBatch is the most records of a frame. Each takes a read(2).
	logBatch = 64
	// recordRoom is more than the head of a record that is read is shorter than that of the
	// record that is sent, in bytes.
	recordRoom = 32
)

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop   *reactor.Loop
	Log    *log.Log
	Server *wire.Server
}

// Service serves kernel_log.
type Service struct {
	Config
	open func(fromNow bool) (fd int, err error)
	logs int // how many are open
}

// NewService registers the handler.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg, open: sys.OpenKernelLog}
	s.Server.Handle(framing.TypeKernelLog, s.kernelLog)
	return s
}

// kernelLog is a channel that sends records of the kernel's log. They stay in the kernel until
// there is credit for the longest one. The kernel overwrites the oldest ones meanwhile.
type kernelLog struct {
	reactor.Descriptor
	service *Service
	conn    *wire.Conn
	seq     uint32
	follow  bool
	granted uint64 // bytes that may still be sent
	next    uint64 // the sequence after that of the last record that was sent
	any     bool   // a record was sent
}

var errTooMany = &sys.WordedError{
	Errno: unix.EMFILE, Words: "too many kernel logs read (limit " + sys.Num(maxLogs) + ")",
}

// kernelLog handles a kernel_log: it opens the channel.
func (s *Service) kernelLog(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseKernelLog(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	if s.logs == maxLogs {
		c.Done(p.Seq, 0, errTooMany)
		return nil
	}
	fd, err := s.open(q.New)
	if err != nil {
		c.Done(p.Seq, 0, err)
		return nil
	}
	k := &kernelLog{service: s, conn: c, seq: p.Seq, follow: q.Follow, granted: uint64(q.Credit)}
	s.logs++
	s.Loop.Attach(&k.Descriptor, fd, k)
	c.OpenChannel(p.Seq, k)
	c.Queue(k)
	return nil
}

// Ready implements [reactor.Handler]. There is a record, or some were overwritten.
func (k *kernelLog) Ready(reactor.Events) {
	k.Want(0)
	k.conn.Queue(k)
}

// Produce implements [wire.Producer].
func (k *kernelLog) Produce() (more bool) {
	b := k.conn.Space(framing.OutputHeaderSize + wire.MaxOutput)
	content := b[framing.OutputHeaderSize:framing.OutputHeaderSize]
	var err error
	for range logBatch {
		left := k.granted - uint64(len(content))
		// A record is read where it will be sent from, a little behind.
		at := len(content) + recordRoom
		if left < framing.MaxKernelRecord || at+sys.MaxKernelRecord > wire.MaxOutput {
			break
		}
		var r sys.KernelRecord
		r, err = sys.ReadKernelRecord(k.FD(), content[at:at+sys.MaxKernelRecord])
		if err != nil {
			break
		}
		send := framing.KernelRecord{
			Priority: r.Priority, Sequence: r.Sequence, TimeUS: r.TimeUS,
			Text: r.Text, Dictionary: r.Dictionary,
		}
		if k.any && r.Sequence > k.next {
			send.Lost = r.Sequence - k.next
		}
		k.next, k.any = r.Sequence+1, true
		content = framing.AppendKernelRecord(content, &send)
	}
	if n := len(content); n > 0 {
		frame := framing.AppendOutputHead(b, k.seq, framing.StreamOutput, n)
		k.conn.Reply(frame[:framing.OutputHeaderSize+n])
		k.granted -= uint64(n)
		return true // the next turn meets an error again
	}
	switch {
	case err == unix.EAGAIN && k.follow:
		k.Want(reactor.Read)
	case err == unix.EAGAIN:
		k.finish(nil)
	case err != nil:
		k.finish(sys.NewError("read", sys.KernelLogPath, err))
	}
	return false
}

// finish closes the channel and replies with done.
func (k *kernelLog) finish(err error) {
	k.Lost()
	k.conn.CloseChannel(k)
	k.conn.DoneLater(k.seq, 0, err)
}

// Credit implements [wire.Source].
func (k *kernelLog) Credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		k.granted += uint64(n)
		k.conn.Queue(k)
	}
}

// End implements [wire.Channel]: the host wants no more.
func (k *kernelLog) End(s framing.Stream) {
	if s == framing.StreamOutput {
		k.finish(sys.NewError("read", sys.KernelLogPath, unix.ECANCELED))
	}
}

// Lost implements [wire.Channel].
func (k *kernelLog) Lost() {
	k.service.logs--
	k.Close()
}

// Failed implements [reactor.Failer].
func (k *kernelLog) Failed(value any, stack []byte) {
	k.service.Log.Panic("kernel log", value, stack)
	if k.Open() {
		k.finish(sys.NewError("read", sys.KernelLogPath, unix.EIO))
	}
}
