package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// listBatch is the most entries looked at for one frame.
const listBatch = 256

// fileList sends the entries of a directory. It reads a few at a time, and the details of each in
// its turn to be sent. So neither a long directory nor a slow host makes memory grow.
type fileList struct {
	ended bool // the directory has no more entries
	marks bool // mark entries that have extended attributes

	entries  [2 << 10]byte // as getdents64(2) returned them
	at, size int           // entries[at:size] are to be sent
}

// list handles a list.
func (s *Service) list(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseList(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	if q.Flags&framing.FileAttributes != 0 {
		return listAttributes(c, p.Seq, &q)
	}
	f := &fileSend{
		from: &fileList{marks: q.Flags&framing.FileMarks != 0}, conn: c, seq: p.Seq,
		op: "getdents", path: string(q.Path), granted: uint64(q.Credit),
	}
	safe := q.Flags&framing.FileSafe != 0
	f.fd, err = OpenAt(unix.AT_FDCWD, f.path, unix.O_DIRECTORY|unix.O_NONBLOCK, safe)
	if err != nil {
		c.Done(p.Seq, 0, sys.NewError("open", f.path, err))
		return nil
	}
	f.open()
	return nil
}

// produce implements [fileSource].
func (l *fileList) produce(f *fileSend) (more bool) {
	b := f.conn.Space(framing.OutputHeaderSize + wire.MaxOutput)
	content := b[framing.OutputHeaderSize:framing.OutputHeaderSize]
	for range listBatch {
		name, err := l.nextEntry(f)
		if err != nil || l.ended {
			if len(content) == 0 {
				f.finish(err)
				return false
			}
			break // the next turn meets it again
		}
		if len(content)+framing.FileInfoSize+len(name)+unix.PathMax > wire.MaxOutput {
			break
		}
		// A link's target is read straight into its place in the frame.
		var i framing.FileInfo
		target := len(content) + framing.FileInfoSize + len(name) - 1
		switch err := readInfo(&i, f.fd, name, content[target:target+unix.PathMax]); err {
		case nil:
		case unix.ENOENT:
			l.skipEntry() // removed since
			continue
		default:
			if len(content) == 0 {
				f.finish(sys.NewError("stat", f.path+"/"+string(name[:len(name)-1]), err))
				return false
			}
			f.send(b, len(content))
			return true
		}
		if l.marks {
			markAttributes(&i, f.fd, name[:len(name)-1])
		}
		longer := framing.AppendFileInfo(content, &i)
		if uint64(len(longer)) > f.granted {
			f.send(b, len(content))
			return false // until there is credit for the whole entry
		}
		content = longer
		l.skipEntry()
		f.sent++
	}
	f.send(b, len(content))
	return true
}

// nextEntry returns the name of the next entry, with the NUL at its end. At the end of the
// directory it sets ended.
func (l *fileList) nextEntry(f *fileSend) (name []byte, err error) {
	for !l.ended {
		if l.at == l.size {
			n, err := unix.Getdents(f.fd, l.entries[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, sys.NewError(f.op, f.path, err)
			}
			l.at, l.size = 0, n
			l.ended = n == 0
			continue
		}
		name = sys.EntryName(l.entries[l.at:l.size])
		if string(name) != ".\x00" && string(name) != "..\x00" {
			return name, nil
		}
		l.skipEntry()
	}
	return nil, nil
}

// skipEntry moves on to the next entry.
func (l *fileList) skipEntry() { l.at += sys.EntrySize(l.entries[l.at:l.size]) }
