package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

// upload is one write_file: its content goes to a staging file as it arrives, and when it is whole the staging file
// takes the place of the target, or is copied into it.
//
//	head ──▶ staging ──last byte──▶ placed by rename ──▶ reply
//	  │         │                     └─if that cannot be─▶ copying, or sudo ──▶ reply
//	  └─failed──┴─▶ the rest is skipped ──▶ reply with the reason
//
// What is added to a file is staged too, in a file without a name, and copied behind what is there.
type upload struct {
	conn   *conn
	seq    uint32
	parser framing.WriteFileParser
	target files.Target
	stage  files.Staging
	size   int64 // bytes staged
	err    error // why it failed
	append bool  // to what is there, if anything is

	committing bool // whole, and being put in place
	copy       copying
	sudo       sudoWrite
}

// beginUpload begins the write_file of a frame's first part.
func (c *conn) beginUpload(p *framing.Part) {
	u := c.agent.spare
	if u == nil {
		u = &upload{}
	}
	c.agent.spare = nil
	c.agent.garbage.Collect(fileGarbage)
	u.conn, u.seq = c, p.Seq
	c.heavy++
	u.parser.Reset(p.Size)
	c.upload = u
}

// continueUpload takes the next piece of the payload, and carries it out when it was the last.
func (c *conn) continueUpload(piece []byte, last bool) {
	u := c.upload
	headed := u.target.Known
	content, err := u.parser.Parse(piece)
	if err == nil && last {
		err = u.parser.Finish()
	}
	if err != nil {
		// Nothing was done yet: an error shows in the head.
		if last {
			seq := u.seq
			c.endUpload()
			c.replyError(seq, err.Error())
		}
		return
	}
	if head, ok := u.parser.Head(); ok && !headed {
		u.begin(head)
	}
	u.write(content)
	if last {
		u.commit()
	} else if u.err == nil {
		u.align()
	}
}

// begin finds out what the path is, and opens where the content goes.
func (u *upload) begin(head framing.WriteFile) {
	a := u.conn.agent
	u.target.Known = true
	if a.isFrozen() {
		u.err = errFrozen
		return
	}
	if u.parser.PathLen() >= framing.MaxPath {
		u.err = sys.NewError("open", "path", unix.ENAMETOOLONG)
		return
	}
	path := string(head.Path)
	u.append = head.Append
	if head.Sudo && !a.root {
		u.sudo.wanted = true
		u.target.Path = path
		u.err = u.stage.OpenSpool(&a.disk)
		return
	}
	if u.err = u.target.Find(path); u.err != nil {
		return
	}
	if u.append && u.target.Exists {
		u.err = u.stage.OpenNear(&a.disk, &u.target, head.Size)
	} else {
		u.err = u.stage.OpenFor(&a.disk, &u.target)
	}
}

// write stages content. After a failure the rest is skipped.
func (u *upload) write(b []byte) {
	if len(b) == 0 || u.err != nil {
		return
	}
	if u.conn.agent.isFrozen() {
		u.err = errFrozen
		return
	}
	n, err := files.WriteAt(u.stage.FD, b, u.size)
	u.size += int64(n)
	if err != nil {
		u.conn.stream.ReadAtMost(0)
		u.err = sys.NewError("write", u.target.Path, err)
		u.stage.Discard(&u.conn.agent.disk)
	}
}

// align has the next piece end where a buffer's size of the file does: file systems that keep large folios write whole ones in half the
// time that they take for the two halves of each.
func (u *upload) align() {
	u.conn.stream.ReadAtMost(reactor.BufferSize - int(u.size%reactor.BufferSize))
}

// commit puts what was staged in place.
func (u *upload) commit() {
	if u.err == nil && u.conn.agent.isFrozen() {
		u.err = errFrozen
	}
	if u.err != nil {
		u.reply()
		return
	}
	if u.sudo.wanted {
		u.wait()
		u.sudo.begin(u)
		return
	}
	if u.stage.Named() {
		u.target.Exclusive = u.append // what is there by now is added to
		err := u.stage.Place(&u.target)
		if err == nil {
			u.reply()
			return
		}
		if !u.target.Exists && !sys.IsErrno(err, unix.EEXIST) || files.DiskFull(err) {
			u.err = err
			u.reply()
			return
		}
		u.conn.agent.log.Debug("file written in place", "path", u.target.Path, "reason", err.Error())
	}
	u.wait()
	u.copy.begin(u)
}

// wait holds the connection until the upload is in place: a write_file takes effect before the next frame is looked at.
func (u *upload) wait() {
	u.committing = true
	a := u.conn.agent
	a.commits = append(a.commits, u)
	u.conn.due++
	u.conn.stream.Pause()
}

// reply ends the upload with its result.
func (u *upload) reply() {
	u.stage.Discard(&u.conn.agent.disk)
	reason := ""
	if u.err != nil {
		reason = sys.Clip(u.err.Error(), maxText)
	}
	c := u.conn
	seq, waited := u.seq, u.committing
	c.endUpload()
	if !waited {
		c.reply(framing.AppendWriteFileResult(c.stream.Space(framing.HeaderSize+3+len(reason)), seq, reason))
		return
	}
	c.agent.commits = remove(c.agent.commits, u)
	c.stream.Resume()
	c.replyLater(framing.AppendWriteFileResult(nil, seq, reason))
	c.sent()
	c.agent.stepDown()
}

// endUpload: the connection has no upload any more.
func (c *conn) endUpload() {
	c.stream.ReadAtMost(0)
	u := c.upload
	c.upload = nil
	if !u.committing { // otherwise the loop may still hold what is in it
		*u = upload{}
		c.agent.spare = u
	}
}

// abandon lets go of an upload that is being put in place, for the agent is at its end.
func (u *upload) abandon() {
	a := u.conn.agent
	a.commits = remove(a.commits, u)
	u.copy.close()
	u.sudo.close()
	u.stage.Discard(&a.disk)
}
