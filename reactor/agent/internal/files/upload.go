package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// upload is one write_file. Its content goes to a staging file as it arrives. Once whole, the
// staging file replaces the target, or is copied into it.
//
//	head ──▶ staging ──last byte──▶ placed by rename ──▶ reply
//	  │         │                     └─if that fails──▶ copying, or sudo ──▶ reply
//	  └─failed──┴─▶ the rest is skipped ──▶ reply with the reason
//
// Content that is appended is staged too, in a file without a name, and then copied to the end.
type upload struct {
	service *Service
	conn    *wire.Conn
	seq     uint32
	parser  framing.WriteFileParser
	target  Target
	stage   Staging
	size    int64 // bytes staged
	err     error // why it failed
	append  bool  // to the target, if it exists

	committing bool // whole, and being put in place
	copy       copying
	sudo       sudoWrite
}

// upload handles a part of a write_file.
func (s *Service) upload(c *wire.Conn, p *framing.Part) error {
	if p.First() {
		s.newUpload(c, p)
	}
	u := c.Request.(*upload)
	headed := u.target.Resolved
	content, err := u.parser.Parse(p.Data)
	if err == nil && p.Last() {
		err = u.parser.Finish()
	}
	if err != nil {
		// A malformed payload shows in its head, so nothing was opened yet.
		if !p.Last() {
			return nil
		}
		u.reset()
		return err
	}
	if head, ok := u.parser.Head(); ok && !headed {
		u.open(head)
	}
	u.stageContent(content)
	if p.Last() {
		u.commit()
	} else if u.err == nil {
		u.align()
	}
	return nil
}

// newUpload starts the write_file whose first part is p.
func (s *Service) newUpload(c *wire.Conn, p *framing.Part) {
	u := s.spare
	if u == nil {
		u = &upload{}
	}
	s.spare = nil
	s.Garbage.Collect(requestGarbage)
	u.service, u.conn, u.seq = s, c, p.Seq
	c.Heavy()
	u.parser.Reset(p.Size)
	c.Request = u
}

// open resolves the path and opens the staging file.
func (u *upload) open(head framing.WriteFile) {
	s := u.service
	u.target.Resolved = true
	if s.Disk.Held() {
		u.err = ErrFrozen
		return
	}
	if u.parser.PathLen() >= framing.MaxPath {
		u.err = sys.NewError("open", "path", unix.ENAMETOOLONG)
		return
	}
	path := string(head.Path)
	u.append = head.Append
	if head.Sudo && !s.Root {
		u.sudo.wanted = true
		u.target.Path = path
		u.err = u.stage.OpenSpool(s.Disk)
		return
	}
	if u.err = u.target.Find(path); u.err != nil {
		return
	}
	if u.append && u.target.Exists {
		u.err = u.stage.OpenNear(s.Disk, &u.target, head.Size)
	} else {
		u.err = u.stage.OpenFor(s.Disk, &u.target)
	}
}

// stageContent writes content to the staging file. After a failure it ignores the rest.
func (u *upload) stageContent(b []byte) {
	if len(b) == 0 || u.err != nil {
		return
	}
	if u.service.Disk.Held() {
		u.err = ErrFrozen
		return
	}
	n, err := WriteAt(u.stage.FD, b, u.size)
	u.size += int64(n)
	if err != nil {
		u.conn.ReadAtMost(0)
		u.err = sys.NewError("write", u.target.Path, err)
		u.stage.Discard(u.service.Disk)
	}
}

// align lets the next piece end at a multiple of the buffer size in the file. A file system with
// large folios writes a whole one in half the time of its two halves.
func (u *upload) align() {
	u.conn.ReadAtMost(reactor.BufferSize - int(u.size%reactor.BufferSize))
}

// commit puts the staged content in place.
func (u *upload) commit() {
	if u.err == nil && u.service.Disk.Held() {
		u.err = ErrFrozen
	}
	if u.err != nil {
		u.finish()
		return
	}
	if u.sudo.wanted {
		u.holdConn()
		u.sudo.open(u)
		return
	}
	if u.stage.Named() {
		u.target.Exclusive = u.append // a target that has appeared is appended to
		err := u.stage.Place(&u.target)
		if err == nil {
			u.finish()
			return
		}
		if !u.target.Exists && !sys.IsErrno(err, unix.EEXIST) || DiskFull(err) {
			u.err = err
			u.finish()
			return
		}
		u.service.Log.Debug("file overwritten, not replaced", "path", u.target.Path,
			"reason", err.Error())
	}
	u.holdConn()
	u.copy.open(u)
}

// holdConn stops reading from the connection until the upload is in place. A write_file takes
// effect before the next frame does.
func (u *upload) holdConn() {
	u.committing = true
	u.service.commits = append(u.service.commits, u)
	u.conn.Hold()
}

// finish replies with the result.
func (u *upload) finish() {
	u.stage.Discard(u.service.Disk)
	reason := ""
	if u.err != nil {
		reason = sys.Clip(u.err.Error(), wire.MaxText)
	}
	s, c, seq, waited := u.service, u.conn, u.seq, u.committing
	u.reset()
	if !waited {
		frame := c.Space(framing.HeaderSize + 3 + len(reason))
		c.Reply(framing.AppendWriteFileResult(frame, seq, reason))
		return
	}
	s.commits = sys.Remove(s.commits, u)
	c.Unhold(framing.AppendWriteFileResult(nil, seq, reason))
	s.Changed()
}

// reset takes the upload off its connection, and keeps it for reuse.
func (u *upload) reset() {
	u.conn.ReadAtMost(0)
	u.conn.Request = nil
	if s := u.service; !u.committing { // the loop may still refer to a committed one
		*u = upload{}
		s.spare = u
	}
}

// Drop implements [wire.Request].
func (u *upload) Drop() {
	if !u.committing {
		u.stage.Discard(u.service.Disk)
	}
}

// close gives up an upload that is being put in place.
func (u *upload) close() {
	s := u.service
	s.commits = sys.Remove(s.commits, u)
	u.copy.close()
	u.sudo.close()
	u.stage.Discard(s.Disk)
}
