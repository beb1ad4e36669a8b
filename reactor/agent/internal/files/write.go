package files

import (
	"math"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// writeWindow is how much content of a write a host may have on its way, in bytes. It goes to the file as it comes, so this is only what fills
// the time of a credit's way back.
const writeWindow = 64 << 10

// fileWrite is the channel of a write. Content goes to the file as it comes: a staging file, as that of a write_file, or in place the file
// itself, which staging holds without a name then.
//
//	open ──credit──▶ input … ──close──▶ dressed ──(fsync)──▶ renamed ──(fsync of the directory)──▶ done
//	  └─failed─────────┴─given up, lost──▶ nothing is left, but what was written in place
type fileWrite struct {
	service    *Service
	conn       *wire.Conn
	seq        uint32
	flags      framing.WriteFlags
	target     Target
	stage      Staging
	offset     int64  // of the next byte
	written    uint64 // bytes
	window     int    // bytes granted that have not come
	ungranted  int    // bytes that came since there was a grant
	whole      bool   // the content has ended
	endsInHole bool   // what came last of it is a hole
	placed     bool   // the file is in place
	sync       *fileSync
}

// writeFile begins a write.
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

// has reports whether one of the flags is set.
func (w *fileWrite) has(flags framing.WriteFlags) bool { return w.flags&flags != 0 }

// open checks what is asked for, and opens where the content goes.
func (w *fileWrite) open(q *framing.Write) error {
	t := &w.target
	t.Path = string(q.Path)
	t.Safe, t.Exclusive = w.has(framing.WriteSafe), w.has(framing.WriteExclusive)
	t.Given = Attributes{Mode: q.Mode, HasMode: w.has(framing.WriteMode), UID: q.UID, GID: q.GID, HasOwner: w.has(framing.WriteOwner)}
	w.offset = int64(q.Offset)
	inPlace, positioned := w.has(framing.WriteInPlace), q.Offset != 0 || w.has(framing.WriteTruncate)
	switch {
	case t.Path == "":
		return sys.NewError("open", "path", unix.ENOENT)
	case len(t.Path) >= framing.MaxPath:
		return sys.NewError("open", "path", unix.ENAMETOOLONG)
	case q.Offset > math.MaxInt64, !inPlace && (positioned || w.has(framing.WriteAppend)), w.has(framing.WriteAppend) && positioned:
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

// find finds the name that the file is to have. A link at the end of the path is followed, unless the name itself is meant; then it is looked at
// once its directory is open.
func (w *fileWrite) resolve() error {
	t := &w.target
	if t.NoFollow() {
		return t.Split(t.Path)
	}
	return t.Find(t.Path)
}

// openInPlace opens the file, or makes it. Between the two another may have made it.
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

// ready readies the file for being written in place. It refuses what has no end that could be set.
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

// create makes the file that is to be written in place, and keeps its directory for a sync.
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
		return nil // it stays the agent's own until it is whole
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
	// Not in the middle of a frame, which would be granted while it comes.
	if w.ungranted += n; w.ungranted >= writeWindow/2 && p.Last() {
		w.grant(w.ungranted)
		w.ungranted = 0
	}
	return true
}

// Skip implements [wire.Skipper]: it leaves a hole. In a file that is written in place content may be there, which would not be one.
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

// grant lets so many more bytes come.
func (w *fileWrite) grant(n int) {
	c := w.conn
	w.window += n
	c.Reply(framing.AppendCredit(c.Space(framing.HeaderSize+1+4), w.seq, framing.StreamInput, uint32(n)))
}

// End implements [wire.Channel]: the content is whole, or the write is given up, as long as it can be.
func (w *fileWrite) End(s framing.Stream) {
	switch {
	case s == framing.StreamInput && !w.whole:
		w.whole = true
		w.commit()
	case s == framing.StreamOutput && !w.placed:
		w.finish(sys.NewError("write", w.target.Path, unix.ECANCELED))
	}
}

// commit puts the file in place. What is to be synced is synced before a name leads to it, so that no crash leaves a file under the name that
// is neither the old one nor whole.
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

// dress gives the file its length and attributes.
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

// place gives the file its name, if it does not have it.
func (w *fileWrite) place() error {
	if w.stage.Named() {
		if err := w.stage.Rename(&w.target); err != nil {
			return err
		}
	}
	w.placed = true
	return nil
}

// synced goes on after an fsync: of the file, and then of the directory where its name is new.
func (w *fileWrite) syncDone(errno unix.Errno) {
	w.sync = nil
	var err error
	switch {
	case w.placed && errno == unix.EINVAL: // there are file systems whose directories cannot be synced
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

// finish ends the channel.
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

// close lets go of everything.
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
