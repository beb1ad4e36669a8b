package files

import (
	"math"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// fileRead sends the content of a file. It goes from the file into the stream's buffer, one frame
// at a time.
type fileRead struct {
	offset uint64 // of the next byte
	left   uint64 // bytes that are still to be sent
}

// read handles a read.
func (s *Service) read(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseRead(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	r := &fileRead{offset: q.Offset, left: q.Length}
	if q.Length == 0 {
		r.left = math.MaxUint64
	}
	var from fileSource = r
	if q.Flags&framing.FileMap != 0 {
		length := min(r.left, math.MaxUint64-q.Offset)
		from = &fileMap{offset: q.Offset, end: q.Offset + length}
	}
	f := &fileSend{
		from: from, conn: c, seq: p.Seq, op: "read", path: string(q.Path),
		granted: uint64(q.Credit),
	}
	f.fd, err = OpenContent(f.path, unix.O_RDONLY, q.Flags&framing.FileSafe != 0)
	if err != nil {
		c.Done(p.Seq, 0, err)
		return nil
	}
	f.open()
	return nil
}

// produce implements [fileSource]. Without credit it looks for the end of the file nonetheless,
// because a host may have granted exactly the file's size.
func (r *fileRead) produce(f *fileSend) (more bool) {
	if r.left == 0 {
		f.finish(nil)
		return false
	}
	may := int(min(wire.MaxOutput, r.left, f.granted))
	room := framing.OutputHeaderSize + max(may, 1)
	b := f.conn.Space(room)
	n, err := sys.Pread(f.fd, b[framing.OutputHeaderSize:room], int64(r.offset))
	switch {
	case err != nil:
		f.finish(sys.NewError(f.op, f.path, err))
		return false
	case n == 0:
		f.finish(nil)
		return false
	case may == 0:
		return false // until there is credit
	}
	f.send(b, n)
	r.offset += uint64(n)
	r.left -= uint64(n)
	f.sent += uint64(n)
	return true
}
