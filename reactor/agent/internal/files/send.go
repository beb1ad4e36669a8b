package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// fileSend is the channel of a read or a list: it sends what is in a file or a directory, as the host grants credit.
type fileSend struct {
	from    fileSource
	conn    *wire.Conn
	seq     uint32
	op      string // by which it is read
	path    string
	fd      int
	granted uint64 // bytes that may be sent
	sent    uint64 // bytes or entries, as the host is told at the end
}

// fileSource has what is sent: a [fileRead] or a [fileList].
type fileSource interface {
	// fill is [wire.Producer.Produce].
	produce(f *fileSend) (more bool)
}

// begin begins to send.
func (f *fileSend) open() {
	f.conn.OpenChannel(f.seq, f)
	f.conn.Queue(f)
}

// Produce implements [wire.Producer].
func (f *fileSend) Produce() (more bool) { return f.from.produce(f) }

// send queues a frame with n bytes, if there are any. They stand in b, the stream's space, behind the room for the frame's head.
func (f *fileSend) send(b []byte, n int) {
	if n == 0 {
		return
	}
	f.conn.Reply(framing.AppendOutputHead(b, f.seq, framing.StreamOutput, n)[:framing.OutputHeaderSize+n])
	f.granted -= uint64(n)
}

// finish ends the channel.
func (f *fileSend) finish(err error) {
	unix.Close(f.fd)
	f.conn.CloseChannel(f)
	f.conn.Done(f.seq, f.sent, err)
}

// Credit implements [wire.Source].
func (f *fileSend) Credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		f.granted += uint64(n)
		f.conn.Queue(f)
	}
}

// End implements [wire.Channel]: no more is wanted.
func (f *fileSend) End(s framing.Stream) {
	if s == framing.StreamOutput {
		f.finish(sys.NewError(f.op, f.path, unix.ECANCELED))
	}
}

// Lost implements [wire.Channel].
func (f *fileSend) Lost() { unix.Close(f.fd) }
