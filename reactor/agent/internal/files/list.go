package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// listBatch is the most entries that are looked at for one frame.
const listBatch = 256

// fileList is a list. The directory is read a few entries at a time, each of which is asked for when it is its turn to be
// sent, so neither a long directory nor a host that takes its time makes anything grow.
type fileList struct {
	ended bool // the directory has no more
	marks bool // entries with extended attributes are marked

	entries  [2 << 10]byte // as the kernel gave them
	at, size int           // of the next one, and of all
}

// listFiles begins a list.
func (s *Service) list(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseList(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	if q.Flags&framing.FileAttributes != 0 {
		return listAttributes(c, p.Seq, &q)
	}
	f := &fileSend{from: &fileList{marks: q.Flags&framing.FileMarks != 0}, conn: c, seq: p.Seq, op: "getdents", path: string(q.Path), granted: uint64(q.Credit)}
	f.fd, err = OpenAt(unix.AT_FDCWD, f.path, unix.O_DIRECTORY|unix.O_NONBLOCK, q.Flags&framing.FileSafe != 0)
	if err != nil {
		c.Done(p.Seq, 0, sys.NewError("open", f.path, err))
		return nil
	}
	f.open()
	return nil
}

// fill implements [fileSource].
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
			break // which the next turn comes upon again
		}
		if len(content)+framing.FileInfoSize+len(name)+unix.PathMax > wire.MaxOutput {
			break
		}
		// The target is read to where it belongs.
		var i framing.FileInfo
		target := len(content) + framing.FileInfoSize + len(name) - 1
		switch err := readInfo(&i, f.fd, name, content[target:target+unix.PathMax]); err {
		case nil:
		case unix.ENOENT:
			l.skipEntry() // it is gone since
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
			return false // until there is credit for all of it
		}
		content = longer
		l.skipEntry()
		f.sent++
	}
	f.send(b, len(content))
	return true
}

// next is the name of the next entry, with the NUL at its end, unless the directory has ended.
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

// skip goes on to the entry after.
func (l *fileList) skipEntry() { l.at += sys.EntrySize(l.entries[l.at:l.size]) }
