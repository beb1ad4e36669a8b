package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// fileSend is the channel of a read or a list. It sends what is in a file or a directory, within
// the host's credit.
type fileSend struct {
	_       [0]func() // needs no comparison
	from    fileSource
	conn    *wire.Conn
	seq     uint32
	op      string // the system call that reads it
	path    string
	fd      int
	granted uint64 // bytes that may still be sent
	sent    uint64 // bytes or entries, which done reports
}

// fileSource makes the frames of a fileSend: a [fileRead], [fileMap], [fileList] or
// [attributeList].
type fileSource interface {
	// produce queues at most one frame; see [wire.Producer].
	produce(f *fileSend) (more bool)
}

// open opens the channel.
func (f *fileSend) open() {
	f.conn.OpenChannel(f.seq, f)
	f.conn.Queue(f)
}

// Produce implements [wire.Producer].
func (f *fileSend) Produce() (more bool) { return f.from.produce(f) }

// send queues a frame with n bytes of content; 0 queues none. b is the stream's space, in which the
// content follows the room for the frame's head.
func (f *fileSend) send(b []byte, n int) {
	if n == 0 {
		return
	}
	frame := framing.AppendOutputHead(b, f.seq, framing.StreamOutput, n)
	f.conn.Reply(frame[:framing.OutputHeaderSize+n])
	f.granted -= uint64(n)
}

// finish closes the channel and replies with done.
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

// End implements [wire.Channel]: the host wants no more.
func (f *fileSend) End(s framing.Stream) {
	if s == framing.StreamOutput {
		f.finish(sys.NewError(f.op, f.path, unix.ECANCELED))
	}
}

// Lost implements [wire.Channel].
func (f *fileSend) Lost() { unix.Close(f.fd) }
