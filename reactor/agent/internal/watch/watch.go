package watch

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// settle is the time between an event and its record. Both halves of a rename come within
	// it, and the kernel joins the events of many writes.
	settle = 10 * time.Millisecond
	// turnWork bounds a turn. A step costs 1, and opening a directory openWork.
	turnWork = 256
	openWork = 8
	// quietEvents limits the events that come before the host looks: as many as the kernel's
	// queue has by default.
	quietEvents = 16 << 10
	// eventRoom is the size of the buffer for events, in bytes. entryRoom is that for entries
	// of a directory.
	eventRoom = 4 << 10
	entryRoom = 2 << 10
)

// pause says why a watch has nothing to do.
type pause uint8

const (
	working pause = iota // it has something to do
	idle                 // no event is in the queue
	halved               // half of a rename is there, and the other may come
)

// watch is the channel of a watch.
type watch struct {
	reactor.Descriptor // the inotify instance
	service            *Service
	conn               *wire.Conn
	seq                uint32
	timer              reactor.Timer

	root string // the directory
	only string // the only name in it that is reported, or empty
	safe bool
	tree bool // directories below, too
	mask uint32
	skip string

	granted uint64
	err     error // ends the watch
	pause   pause

	top     *node
	nodes   []*node // in the order of their wd, with the dead ones
	dead    int     // of these
	gone    []int32 // watches of the kernel's to be removed
	todo    []*node // whose content is to be reported
	looking bool    // what is there is registered first, and not reported
	quiet   int     // events that are handled before the host looks, and not reported
	round   uint32  // counts how often the queue was empty
	longest int     // no path of a directory has more bytes

	scan     int   // the directory that is read, or -1
	scanned  *node // it
	entries  [entryRoom]byte
	at, size int // entries[at:size] are to be reported

	events     [eventRoom]byte
	begin, end int // events[begin:end] are to be handled
	old        int // events before it have waited for their other half
	settling   bool

	out    []byte // the records of the frame that is being made
	since  int    // records in out before it do not count as the last ones about a path
	budget int
	paths  [2][pathRoom]byte
}

// watchGarbage is what a watch leaves, in bytes, and openGarbage what opening a directory does.
const (
	watchGarbage = 16 << 10
	openGarbage  = 256
)

// watch handles the request.
func (s *Service) watch(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseWatch(p.Data)
	if err != nil || !c.MayOpen(p.Seq) {
		return err
	}
	c.Heavy() // it may wait for a disk
	s.Garbage.Collect(watchGarbage)
	w := &watch{
		service: s, conn: c, seq: p.Seq, root: string(q.Path), skip: string(q.Skip), scan: -1,
		safe: q.Flags&framing.WatchSafe != 0, tree: q.Flags&framing.WatchTree != 0,
		granted: uint64(q.Credit), mask: changes,
	}
	if q.Flags&framing.WatchAttributes != 0 {
		w.mask |= unix.IN_ATTRIB
	}
	if s.watches == maxWatches {
		words := "too many watches (limit " + sys.Num(maxWatches) + ")"
		err = &sys.WordedError{Errno: unix.EMFILE, Words: words}
	} else if err = w.resolve(); err == nil {
		err = w.open()
	}
	if err != nil {
		w.close()
		c.Done(p.Seq, 0, err)
		return nil
	}
	s.watches++
	c.OpenChannel(p.Seq, w)
	c.Queue(w)
	return nil
}

// resolve finds out what the path leads to. A file that is no directory is watched in its
// directory, because it may be replaced.
func (w *watch) resolve() error {
	fd, err := files.OpenAt(unix.AT_FDCWD, w.root, unix.O_PATH, w.safe)
	if err != nil {
		return sys.NewError("watch", w.root, err)
	}
	var st unix.Stat_t
	err = sys.Fstat(fd, &st)
	unix.Close(fd)
	if err != nil {
		return sys.NewError("fstat", w.root, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		slash := sys.LastSlash(w.root)
		w.root, w.only, w.tree = w.root[:slash+1], w.root[slash+1:], false
		if w.root == "" {
			w.root = "."
		}
	}
	return nil
}

// open makes the inotify instance and watches the top. Those below are registered in
// turns.
func (w *watch) open() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return sys.NewError("inotify_init", "", err)
	}
	w.service.Loop.Attach(&w.Descriptor, fd, w)
	w.looking, w.quiet, w.round = true, quietEvents, w.round+1
	top, wd, err := w.openTop()
	if err != nil {
		return sys.NewError("watch", w.root, err)
	}
	unix.Close(top)
	w.top = w.add(wd, nil, nil)
	if w.tree {
		w.todo = append(w.todo, w.top)
	}
	return nil
}

// forget drops all that the watch knows of the files.
func (w *watch) forget() {
	w.closeScan()
	w.service.dirs -= len(w.nodes) - w.dead
	w.service.Garbage.Add(nodeGarbage * len(w.nodes))
	w.Descriptor.Close()
	w.top, w.nodes, w.dead, w.gone, w.todo = nil, nil, 0, nil, nil
	w.begin, w.end, w.old, w.longest = 0, 0, 0, 0
}

// restart begins again. The host is told to look.
func (w *watch) restart() {
	w.forget()
	if err := w.open(); err != nil {
		w.fail(err)
	}
}

// fail ends the watch with its first error.
func (w *watch) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// close releases everything.
func (w *watch) close() {
	w.forget()
	w.timer.Stop()
}

// finish ends the channel from the guest's side.
func (w *watch) finish(err error) {
	w.Lost()
	w.conn.CloseChannel(w)
	w.conn.DoneLater(w.seq, 0, err)
}

// Ready implements [reactor.Handler].
func (w *watch) Ready(reactor.Events) {
	w.Want(0)
	w.settle()
}

// settle continues the watch after a while.
func (w *watch) settle() {
	w.settling = true
	w.service.Loop.Start(&w.timer, settle, w)
}

// Expired implements [reactor.TimerHandler].
func (w *watch) Expired(*reactor.Timer) {
	if w.settling {
		w.settling, w.old = false, w.end
	}
	w.conn.Queue(w)
}

// Failed implements [reactor.Failer].
func (w *watch) Failed(value any, stack []byte) {
	w.service.Log.Panic("watch", value, stack)
	w.finish(sys.NewError("watch", w.root, unix.EIO))
}

// Produce implements [wire.Producer]. It works for a turn, and sends the records of it.
func (w *watch) Produce() (more bool) {
	if w.timer.Running() {
		return false // events have not settled
	}
	w.service.Garbage.Collect(0)
	b := w.conn.Space(framing.OutputHeaderSize + wire.MaxOutput)
	w.out, w.since = b[framing.OutputHeaderSize:framing.OutputHeaderSize], 0
	w.pause, w.budget = working, turnWork
	starved := false
	for w.budget > 0 && w.err == nil && w.pause == working && !starved {
		if starved = w.quiet == 0 && !w.fits(); !starved {
			w.budget--
			w.step()
		}
	}
	n := len(w.out)
	if n > 0 {
		frame := framing.AppendOutputHead(b, w.seq, framing.StreamOutput, n)
		w.conn.Reply(frame[:framing.OutputHeaderSize+n])
		w.granted -= uint64(n)
	}
	w.out = nil
	switch {
	case w.err != nil && n == 0:
		w.finish(w.err)
	case w.err != nil:
		return true
	case w.pause == idle:
		w.Want(reactor.Read)
	case w.pause == halved:
		w.settle()
	case n > 0:
		return true
	case !starved:
		w.service.Loop.Start(&w.timer, 0, w) // in the next turn
	}
	return false
}

// step does the next thing that is to be done.
func (w *watch) step() {
	switch {
	case len(w.gone) > 0:
		last := len(w.gone) - 1
		unix.InotifyRmWatch(w.FD(), uint32(w.gone[last])) // it may be gone by itself
		w.gone = w.gone[:last]
	case w.unread():
		w.read()
	case !w.looking:
		w.handle()
	case w.quiet > 0:
		w.quiet--
		if w.handle(); w.pause == idle {
			w.quiet, w.pause = 0, working
		}
	default:
		w.looking = false
		w.record(framing.WatchLook, w.only == "", nil, nil)
	}
}

// Credit implements [wire.Source].
func (w *watch) Credit(s framing.Stream, n uint32) {
	if s == framing.StreamOutput {
		w.granted += uint64(n)
		w.conn.Queue(w)
	}
}

// End implements [wire.Channel]: the host wants no more.
func (w *watch) End(s framing.Stream) {
	if s == framing.StreamOutput {
		w.finish(sys.NewError("watch", w.root, unix.ECANCELED))
	}
}

// Lost implements [wire.Channel].
func (w *watch) Lost() {
	w.service.watches--
	w.close()
}
