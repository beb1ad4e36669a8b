package watch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// fill reads more events, and reports whether there were any.
func (w *watch) fill() bool {
	w.end = copy(w.events[:], w.events[w.begin:w.end])
	w.old, w.begin = max(w.old-w.begin, 0), 0
	n, err := unix.Read(w.FD(), w.events[w.end:])
	switch {
	case err == unix.EINTR:
		return true
	case err == unix.EAGAIN:
		if w.end == 0 {
			w.round++
		}
	case err == nil && n > 0:
		w.end += n
		return true
	case err != unix.EINVAL && err != nil: // EINVAL: no room for the next one
		w.fail(sys.NewError("read", "inotify", err))
	}
	return false
}

// handle handles the next event.
func (w *watch) handle() {
	e, ok := parseEvent(w.events[w.begin:w.end])
	if !ok {
		if !w.fill() {
			w.pause = idle
		}
		return
	}
	var other event
	if e.mask&unix.IN_MOVED_FROM != 0 {
		at := w.partner(e)
		if at < 0 {
			if w.fill() {
				return
			}
			if w.begin >= w.old && w.end < len(w.events)-eventMax {
				w.pause = halved
				return
			}
			e, _ = parseEvent(w.events[w.begin:w.end]) // it has moved in the buffer
		} else {
			other, _ = parseEvent(w.events[at:w.end])
			clear(w.events[at+4 : at+8]) // its mask: it is handled here
		}
	}
	w.begin += e.size
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		w.restart()
		return
	}
	n := w.find(e.wd)
	if n == nil && other.size == 0 {
		return // it is not watched any more
	}
	w.change(n, e, other)
}

// partner returns where the other half of a rename is in the buffer, or -1.
func (w *watch) partner(from event) int {
	for at := w.begin + from.size; ; {
		e, ok := parseEvent(w.events[at:w.end])
		if !ok {
			return -1
		}
		if e.mask&unix.IN_MOVED_TO != 0 && e.cookie == from.cookie {
			return at
		}
		at += e.size
	}
}

// change handles an event of n. other is the second half of a rename.
func (w *watch) change(n *node, e, other event) {
	dir := e.mask&unix.IN_ISDIR != 0
	seen := w.sees(n, e.name)
	switch {
	case other.size > 0:
		to := w.find(other.wd)
		seenTo := w.sees(to, other.name)
		if seen && seenTo {
			w.rename(dir, n, e.name, to, other.name)
		} else if seen {
			w.leave(dir, n, e.name)
		} else if seenTo {
			w.appear(dir, to, other.name)
		}
		if seen {
			w.stays(n, e.name)
		}
	case len(e.name) == 0:
		w.changeSelf(n, e)
	case !seen:
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		w.appear(dir, n, e.name)
	case e.mask&unix.IN_DELETE != 0:
		w.leave(dir, n, e.name)
	case e.mask&unix.IN_MOVED_FROM != 0:
		w.leave(dir, n, e.name)
		w.stays(n, e.name)
	case e.mask&(unix.IN_MODIFY|unix.IN_CLOSE_WRITE) != 0:
		w.report(framing.WatchModified, dir, n, e.name)
	case e.mask&unix.IN_ATTRIB != 0:
		w.report(framing.WatchAttributed, dir, n, e.name)
	}
}

// changeSelf handles an event of the directory n itself. Its parent reports most of them too, but
// the top has none.
func (w *watch) changeSelf(n *node, e event) {
	switch {
	case n == w.top && e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
		w.fail(sys.NewError("watch", w.root, unix.ENOENT))
	case e.mask&(unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
		w.drop(n)
	case n == w.top && e.mask&unix.IN_ATTRIB != 0 && w.only == "":
		w.report(framing.WatchAttributed, true, n, nil)
	}
}

// sees reports whether a name in a directory is reported.
func (w *watch) sees(n *node, name []byte) bool {
	return n != nil && len(name) > 0 && (w.only == "" && !w.hidden(name) || w.only == string(name))
}

// appear reports a name that has appeared. If it is a file's, and a directory with the name is
// known, the event is older than the directory.
func (w *watch) appear(dir bool, n *node, name []byte) {
	switch {
	case dir && w.tree:
		w.arrive(n, name)
	case n.named(name) == nil:
		w.report(framing.WatchCreated, dir, n, name)
	}
}

// leave reports a name that has gone. It may be older news, as for appear.
func (w *watch) leave(dir bool, n *node, name []byte) {
	c := n.named(name)
	if c != nil && !dir {
		return
	}
	if c != nil {
		w.drop(c)
	}
	w.report(framing.WatchRemoved, dir, n, name)
}

// rename reports a rename.
func (w *watch) rename(dir bool, from *node, name []byte, to *node, toName []byte) {
	moved, was := from.named(name), to.named(toName)
	if dir && w.tree && moved == nil || !dir && (moved != nil || was != nil) {
		// A directory could not be watched where it was, or has been found where it is
		// now. Or another directory has the name of a file by now.
		w.leave(dir, from, name)
		w.appear(dir, to, toName)
		return
	}
	if was != nil && was != moved {
		w.drop(was)
	}
	if from.dead || to.dead || moved != nil && (moved.dead || to.within(moved)) {
		w.restart()
		return
	}
	w.reportRename(dir, from, name, to, toName)
	if moved == nil {
		return
	}
	w.relocate(moved, to, toName)
	dirFD, ok := w.enter(to, unix.O_PATH)
	if !ok {
		from.missed = w.round // the two may have been exchanged
		return
	}
	wd, err := w.watchAt(dirFD, toName)
	unix.Close(dirFD)
	switch {
	case err == nil && wd != moved.wd:
		w.restart() // another directory has taken the place since
	case missing(err):
		from.missed, to.missed = w.round, w.round
	case err != nil && !leftOut(err):
		w.failAt(w.pathOf(to, toName), err)
	}
}

// stays reports a name from which something was moved, if it exists. The two may have been
// exchanged.
func (w *watch) stays(n *node, name []byte) {
	if w.err != nil || n.dead || n.named(name) != nil || w.looking {
		return
	}
	in, ok := w.enter(n, unix.O_PATH)
	if !ok {
		return
	}
	defer unix.Close(in)
	var st unix.Stat_t
	if sys.Fstatat(in, string(name), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !dir || !w.tree {
		w.report(framing.WatchCreated, dir, n, name)
		return
	}
	if wd, err := w.watchAt(in, name); err == nil && w.find(wd) != nil {
		w.restart() // they were exchanged
		return
	}
	w.arriveIn(in, n, name)
}
