package files

import (
	"math"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// writeWindow is the credit of a write, in bytes. Content goes to the file as it arrives, so the
// window only covers the round trip of a credit.
const writeWindow = 64 << 10

// fileWrite is the channel of a write. Content goes to a staging file as it arrives, or in place to
// the file itself. stage then holds that file without a name.
//
//	open ──credit──▶ input … ──close──▶ attributes ──(fsync)──▶ renamed ──(fsync of dir)──▶ done
//	  └─failed─────────┴─cancelled, lost──▶ discarded, except what was written in place
type fileWrite struct {
	_          [0]func() // needs no comparison
	service    *Service
	conn       *wire.Conn
	seq        uint32
	flags      framing.WriteFlags
	target     Target
	stage      Staging
	offset     int64  // of the next byte
	written    uint64 // bytes, which done reports
	window     int    // bytes granted that have not arrived
	ungranted  int    // bytes that arrived since the last credit
	whole      bool   // the content has ended
	endsInHole bool   // the content ends in a hole
	placed     bool   // the file is in place
	sync       *fileSync
}

// write handles a write.
func (s *Service) write(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseWrite(p.Data)
	if err != nil || !c.MayOpen(p.Seq) || !s.mayWrite(c, p.Seq) {
		return err
	}
	w := &fileWrite{service: s, conn: c, seq: p.Seq, flags: q.Flags}
	if err := w.open(&q); err != nil {
		w.stage.Discard(w.service.Disk)
		c.Done(p.Seq, 0, err)
		return nil
	}
	c.OpenChannel(p.Seq, w)
	w.grant(writeWindow)
	return nil
}

// has reports whether any of the flags is set.
func (w *fileWrite) has(flags framing.WriteFlags) bool { return w.flags&flags != 0 }

// open checks the request and opens the file for the content.
func (w *fileWrite) open(q *framing.Write) error {
	t := &w.target
	t.Path = string(q.Path)
	t.Safe, t.Exclusive = w.has(framing.WriteSafe), w.has(framing.WriteExclusive)
	t.Given = Attributes{
		Mode: q.Mode, HasMode: w.has(framing.WriteMode),
		UID: q.UID, GID: q.GID, HasOwner: w.has(framing.WriteOwner),
	}
	w.offset = int64(q.Offset)
	inPlace, appends := w.has(framing.WriteInPlace), w.has(framing.WriteAppend)
	positioned := q.Offset != 0 || w.has(framing.WriteTruncate)
	switch {
	case t.Path == "":
		return sys.NewError("open", "path", unix.ENOENT)
	case len(t.Path) >= framing.MaxPath:
		return sys.NewError("open", "path", unix.ENAMETOOLONG)
	case q.Offset > math.MaxInt64, !inPlace && (positioned || appends), appends && positioned:
		return sys.NewError("write", t.Path, unix.EINVAL)
	case inPlace:
		return w.openInPlace()
	}
	if err := w.resolve(); err != nil {
		return err
	}
	if t.Exists && !t.Regular() {
		return sys.NewError("open", t.Path, unix.EINVAL)
	}
	return w.stage.OpenBeside(t, w.has(framing.WriteParents))
}

// resolve resolves the name that the file will have. If NoFollow reports true, OpenBeside checks
// the name later, once its directory is open.
func (w *fileWrite) resolve() error {
	t := &w.target
	if t.NoFollow() {
		return t.Split(t.Path)
	}
	return t.Find(t.Path)
}

// openInPlace opens the file, or creates it. It tries again if another program creates or removes
// the file in between.
func (w *fileWrite) openInPlace() error {
	t := &w.target
	flags := unix.O_WRONLY
	if w.has(framing.WriteAppend) {
		flags |= unix.O_APPEND
	}
	for range MaxLinks {
		if !t.Exclusive {
			fd, err := OpenContent(t.Path, flags, t.Safe)
			if err == nil {
				w.stage = NewStaging(fd, 0)
				return w.prepareInPlace()
			}
			if !sys.IsErrno(err, unix.ENOENT) {
				return err
			}
		}
		if err := w.create(flags); t.Exclusive || !sys.IsErrno(err, unix.EEXIST) {
			return err
		}
	}
	return sys.NewError("create", t.Path, unix.EEXIST)
}

// prepareInPlace prepares the file to be overwritten. It refuses to truncate anything but a regular
// file.
func (w *fileWrite) prepareInPlace() error {
	var st unix.Stat_t
	if err := unix.Fstat(w.stage.FD, &st); err != nil {
		return sys.NewError("fstat", w.target.Path, err)
	}
	if w.has(framing.WriteTruncate) && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return sys.NewError("ftruncate", w.target.Path, unix.EINVAL)
	}
	return DropSetID(w.stage.FD, w.target.Path, &st)
}

// create creates the file to be written in place, and keeps its directory open for the fsync.
func (w *fileWrite) create(flags int) error {
	t := &w.target
	if err := w.resolve(); err != nil {
		return err
	}
	dir, err := WorkDir(t.Dir, t.Safe, w.has(framing.WriteParents))
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, t.Base, flags|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(dir)
		return sys.NewError("create", t.Path, err)
	}
	w.stage = NewStaging(fd, dir)
	if t.Given.HasMode {
		return nil // only the agent can read it until it is whole
	}
	return sys.Wrap("fchmod", t.Path, unix.Fchmod(fd, 0o644))
}

// Input implements [wire.Sink].
func (w *fileWrite) Input(p *framing.Part) bool {
	b := p.Data
	if len(b) > w.window {
		return false
	}
	w.window -= len(b)
	if len(b) == 0 || w.whole {
		return true
	}
	if w.service.Disk.Held() {
		w.finish(ErrFrozen)
		return true
	}
	w.endsInHole = false
	n, err := WriteAt(w.stage.FD, b, w.offset)
	w.offset += int64(n)
	w.written += uint64(n)
	if err != nil {
		w.finish(sys.NewError("write", w.target.Path, err))
		return true
	}
	// Credit is granted between frames only, because it could not be used within one.
	if w.ungranted += n; w.ungranted >= writeWindow/2 && p.Last() {
		w.grant(w.ungranted)
		w.ungranted = 0
	}
	return true
}

// Skip implements [wire.Skipper]. It leaves a hole. A file that is written in place may have
// content there, so it is refused.
func (w *fileWrite) Skip(n uint64) {
	switch {
	case w.whole:
	case !w.stage.Named(), n > uint64(math.MaxInt64-w.offset):
		w.finish(sys.NewError("write", w.target.Path, unix.EINVAL))
	default:
		w.offset += int64(n)
		w.written += n
		w.endsInHole = n > 0
	}
}

// grant sends credit for n more bytes.
func (w *fileWrite) grant(n int) {
	c := w.conn
	w.window += n
	frame := c.Space(framing.HeaderSize + 1 + 4)
	c.Reply(framing.AppendCredit(frame, w.seq, framing.StreamInput, uint32(n)))
}

// End implements [wire.Channel]. The content is whole, or the host cancels the write before it is
// in place.
func (w *fileWrite) End(s framing.Stream) {
	switch {
	case s == framing.StreamInput && !w.whole:
		w.whole = true
		w.commit()
	case s == framing.StreamOutput && !w.placed:
		w.finish(sys.NewError("write", w.target.Path, unix.ECANCELED))
	}
}

// commit puts the file in place. The content is synced before the rename, so that after a crash the
// name leads to the old file or to the whole new one.
func (w *fileWrite) commit() {
	if w.service.Disk.Held() {
		w.finish(ErrFrozen)
		return
	}
	switch err := w.setAttributes(); {
	case err != nil:
		w.finish(err)
	case w.has(framing.WriteSync):
		w.service.syncs.add(w)
	default:
		w.finish(w.place())
	}
}

// setAttributes sets the length and the attributes of the file.
func (w *fileWrite) setAttributes() error {
	t := &w.target
	if w.endsInHole || w.has(framing.WriteTruncate) {
		if err := unix.Ftruncate(w.stage.FD, w.offset); err != nil {
			return sys.NewError("ftruncate", t.Path, err)
		}
	}
	if w.stage.Named() {
		return w.stage.SetAttributes(t)
	}
	if !t.Given.HasMode && !t.Given.HasOwner {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.stage.FD, &st); err != nil {
		return sys.NewError("fstat", t.Path, err)
	}
	return t.Given.Apply(w.stage.FD, t.Path, st.Mode)
}

// place renames the file to its target, unless it was written in place.
func (w *fileWrite) place() error {
	if w.stage.Named() {
		if err := w.stage.Rename(&w.target); err != nil {
			return err
		}
	}
	w.placed = true
	return nil
}

// syncDone continues after an fsync of the file, and after that of the directory with its new name.
func (w *fileWrite) syncDone(errno unix.Errno) {
	w.sync = nil
	var err error
	switch {
	case w.placed && errno == unix.EINVAL: // some file systems cannot sync a directory
	case errno != 0:
		err = sys.NewError("fsync", w.target.Path, errno)
	case w.placed:
	case w.service.Disk.Held():
		err = ErrFrozen
	default:
		if err = w.place(); err == nil && w.stage.Dir != 0 {
			if err = w.stage.TurnToDir(&w.target); err == nil {
				w.service.syncs.add(w)
				return
			}
		}
	}
	w.finish(err)
}

// finish closes the channel and replies with done.
func (w *fileWrite) finish(err error) {
	c := w.conn
	synced := w.whole && w.has(framing.WriteSync)
	w.close()
	if synced {
		c.DoneLater(w.seq, w.written, err)
	} else {
		c.Done(w.seq, w.written, err)
	}
}

// close discards the staging file and closes the channel.
func (w *fileWrite) close() {
	w.Lost()
	w.conn.CloseChannel(w)
}

// Lost implements [wire.Channel].
func (w *fileWrite) Lost() {
	w.stage.Discard(w.service.Disk)
	if w.sync != nil {
		w.sync.write = nil
	}
}
