package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// fileSend is the channel of a read or a list: it sends what is in a file or a directory, as the host grants credit.
type fileSend struct {
	from    fileSource
	conn    *conn
	seq     uint32
	call    string // by which it is read
	path    string
	fd      int
	granted uint64 // bytes that may be sent
	sent    uint64 // bytes or entries, as the host is told at the end
}

// fileSource has what is sent: a [fileRead] or a [fileList].
type fileSource interface {
	// fill is [producer.produce].
	fill(f *fileSend) (more bool)
}

// begin begins to send.
func (f *fileSend) begin() {
	f.conn.openChannel(f.seq, f)
	f.conn.queue(f)
}

// produce implements [producer].
func (f *fileSend) produce() (more bool) { return f.from.fill(f) }

// send queues a frame with n bytes, if there are any. They stand in b, the stream's space, behind the room for the frame's head.
func (f *fileSend) send(b []byte, n int) {
	if n == 0 {
		return
	}
	f.conn.reply(framing.AppendOutputHead(b, f.seq, framing.StreamOutput, n)[:framing.OutputHeaderSize+n])
	f.granted -= uint64(n)
}

// finish ends the channel.
func (f *fileSend) finish(err error) {
	unix.Close(f.fd)
	f.conn.closeChannel(f)
	f.conn.done(f.seq, f.sent, err)
}

// credit implements [channel].
func (f *fileSend) credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		f.granted += uint64(n)
		f.conn.queue(f)
	}
}

// end implements [channel]: no more is wanted.
func (f *fileSend) end(s framing.Stream) {
	if s == framing.StreamOutput {
		f.finish(sys.NewError(f.call, f.path, unix.ECANCELED))
	}
}

// lost implements [channel].
func (f *fileSend) lost() { unix.Close(f.fd) }

// input and resize implement [channel]. There is nothing to grant or to resize.
func (f *fileSend) input(b []byte) bool         { return len(b) == 0 }
func (f *fileSend) resize(rows, columns uint16) {}
