package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
)

// listBatch is the most entries that are looked at for one frame.
const listBatch = 256

// fileList is the channel of a list. The directory is read a few entries at a time, each of which is asked for when it is its turn to be
// sent, so neither a long directory nor a host that takes its time makes anything grow.
type fileList struct {
	conn    *conn
	seq     uint32
	path    string
	dir     int
	granted uint64 // bytes that may be sent
	sent    uint64 // entries
	ended   bool   // the directory has no more

	entries  [2 << 10]byte // as the kernel gave them
	at, size int           // of the next one, and of all
}

// listFiles begins a list.
func (c *conn) listFiles(p *framing.Part) error {
	q, err := framing.ParseList(p.Data)
	if err != nil || !c.mayOpen(p.Seq) {
		return err
	}
	l := &fileList{conn: c, seq: p.Seq, path: string(q.Path), granted: uint64(q.Credit)}
	l.dir, err = openAt(unix.AT_FDCWD, l.path, unix.O_DIRECTORY|unix.O_NONBLOCK, q.Flags&framing.FileSafe != 0)
	if err != nil {
		c.done(p.Seq, 0, opError("open", l.path, err))
		return nil
	}
	c.openChannel(p.Seq, l)
	c.queue(l)
	return nil
}

// produce implements [producer].
func (l *fileList) produce() (more bool) {
	b := l.conn.stream.Space(framing.OutputHeaderSize + maxOutput)
	content := b[framing.OutputHeaderSize:framing.OutputHeaderSize]
	for range listBatch {
		name, err := l.next()
		if err != nil || l.ended {
			if len(content) == 0 {
				l.finish(err)
				return false
			}
			break // which the next turn comes upon again
		}
		if len(content)+framing.FileInfoSize+len(name)+unix.PathMax > maxOutput {
			break
		}
		// The target is read to where it belongs.
		var i framing.FileInfo
		target := len(content) + framing.FileInfoSize + len(name) - 1
		switch err := readInfo(&i, l.dir, name, content[target:target+unix.PathMax]); err {
		case nil:
		case unix.ENOENT:
			l.skip() // it is gone since
			continue
		default:
			if len(content) == 0 {
				l.finish(opError("stat", l.path+"/"+string(name[:len(name)-1]), err))
				return false
			}
			l.send(b, len(content))
			return true
		}
		longer := framing.AppendFileInfo(content, &i)
		if uint64(len(longer)) > l.granted {
			l.send(b, len(content))
			return false // until there is credit for all of it
		}
		content = longer
		l.skip()
		l.sent++
	}
	l.send(b, len(content))
	return true
}

// send queues a frame with n bytes of entries, if there are any.
func (l *fileList) send(b []byte, n int) {
	if n > 0 {
		l.conn.reply(framing.AppendOutputHead(b, l.seq, framing.StreamOutput, n)[:framing.OutputHeaderSize+n])
		l.granted -= uint64(n)
	}
}

// next is the name of the next entry, with the NUL at its end, unless the directory has ended.
func (l *fileList) next() (name []byte, err error) {
	for !l.ended {
		if l.at == l.size {
			n, err := unix.Getdents(l.dir, l.entries[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, opError("getdents", l.path, err)
			}
			l.at, l.size = 0, n
			l.ended = n == 0
			continue
		}
		name = direntName(l.entries[l.at:l.size])
		if string(name) != ".\x00" && string(name) != "..\x00" {
			return name, nil
		}
		l.skip()
	}
	return nil, nil
}

// skip goes on to the entry after.
func (l *fileList) skip() { l.at += direntSize(l.entries[l.at:l.size]) }

// finish ends the channel.
func (l *fileList) finish(err error) {
	unix.Close(l.dir)
	l.conn.closeChannel(l)
	l.conn.done(l.seq, l.sent, err)
}

// credit implements [channel].
func (l *fileList) credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		l.granted += uint64(n)
		l.conn.queue(l)
	}
}

// end implements [channel]: no more is wanted.
func (l *fileList) end(s framing.Stream) {
	if s == framing.StreamOutput {
		l.finish(opError("getdents", l.path, unix.ECANCELED))
	}
}

// lost implements [channel].
func (l *fileList) lost() { unix.Close(l.dir) }

// input and resize implement [channel]. There is nothing to grant or to resize.
func (l *fileList) input(b []byte) bool         { return len(b) == 0 }
func (l *fileList) resize(rows, columns uint16) {}
