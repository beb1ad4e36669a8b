package agent

import (
	"math"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// fileRead is the channel of a read: a file's content goes straight from the file to the stream's buffer, a frame at a time.
type fileRead struct {
	conn    *conn
	seq     uint32
	path    string
	fd      int
	offset  uint64 // of the next byte
	left    uint64 // bytes that are wanted yet
	sent    uint64
	granted uint64 // bytes that may be sent
}

// readFile begins a read.
func (c *conn) readFile(p *framing.Part) error {
	q, err := framing.ParseRead(p.Data)
	if err != nil || !c.mayOpen(p.Seq) {
		return err
	}
	r := &fileRead{conn: c, seq: p.Seq, path: string(q.Path), offset: q.Offset, left: q.Length, granted: uint64(q.Credit)}
	if q.Length == 0 {
		r.left = math.MaxUint64
	}
	if r.fd, err = openContent(r.path, unix.O_RDONLY, q.Flags&framing.FileSafe != 0); err != nil {
		c.done(p.Seq, 0, err)
		return nil
	}
	c.openChannel(p.Seq, r)
	c.queue(r)
	return nil
}

// produce implements [producer]. The end of the file is looked for without credit too: a host may have granted just as much as there is.
func (r *fileRead) produce() (more bool) {
	if r.left == 0 {
		r.finish(nil)
		return false
	}
	may := int(min(maxOutput, r.left, r.granted))
	room := framing.OutputHeaderSize + max(may, 1)
	b := r.conn.stream.Space(room)
	n, err := unix.Pread(r.fd, b[framing.OutputHeaderSize:room], int64(r.offset))
	switch {
	case err == unix.EINTR:
		return true
	case err != nil:
		r.finish(opError("read", r.path, err))
		return false
	case n == 0:
		r.finish(nil)
		return false
	case may == 0:
		return false // until there is credit
	}
	r.conn.reply(framing.AppendOutputHead(b, r.seq, framing.StreamOutput, n)[:framing.OutputHeaderSize+n])
	r.offset += uint64(n)
	r.left -= uint64(n)
	r.granted -= uint64(n)
	r.sent += uint64(n)
	return true
}

// finish ends the channel.
func (r *fileRead) finish(err error) {
	unix.Close(r.fd)
	r.conn.closeChannel(r)
	r.conn.done(r.seq, r.sent, err)
}

// credit implements [channel].
func (r *fileRead) credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		r.granted += uint64(n)
		r.conn.queue(r)
	}
}

// end implements [channel]: no more is wanted.
func (r *fileRead) end(s framing.Stream) {
	if s == framing.StreamOutput {
		r.finish(opError("read", r.path, unix.ECANCELED))
	}
}

// lost implements [channel].
func (r *fileRead) lost() { unix.Close(r.fd) }

// input and resize implement [channel]. There is nothing to grant or to resize.
func (r *fileRead) input(b []byte) bool         { return len(b) == 0 }
func (r *fileRead) resize(rows, columns uint16) {}
