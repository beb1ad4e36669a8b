package watch

import (
	"slices"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

const (
	// changes are the events of every directory. A file that was closed may have been written
	// to by mmap(2), which makes no other event.
	changes = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_EXCL_UNLINK | unix.IN_ONLYDIR
	// topChanges are those of the top as well.
	topChanges = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
)

// openWithin opens a path below an open directory. It follows no link, and enters no mount.
func openWithin(dir int, path string, flags uint64) (int, error) {
	return unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
}

// addWatch has the kernel watch an open directory. The kernel has one number for a directory,
// however often it is asked.
func (w *watch) addWatch(fd int, mask uint32) (int32, error) {
	w.budget -= openWork
	w.service.Garbage.Add(openGarbage)
	wd, err := unix.InotifyAddWatch(w.FD(), sys.FDPath(fd), mask)
	return int32(wd), err
}

// openTop opens the top, and has the kernel watch it.
func (w *watch) openTop() (fd int, wd int32, err error) {
	fd, err = files.OpenAt(unix.AT_FDCWD, w.root, unix.O_PATH|unix.O_DIRECTORY, w.safe)
	if err != nil {
		return -1, 0, err
	}
	if wd, err = w.addWatch(fd, w.mask|topChanges); err != nil {
		unix.Close(fd)
	}
	return fd, wd, err
}

// enter opens a directory. It fails if the path does not lead there now; the directory is then
// read after the next rename of one above it. If the path of the top does not, the watch ends.
func (w *watch) enter(n *node, flags uint64) (fd int, ok bool) {
	fd, wd, err := w.openTop()
	if err == nil && wd != w.top.wd {
		unix.Close(fd)
		err = unix.ENOENT
	}
	if err != nil {
		w.fail(sys.NewError("watch", w.root, err))
		return -1, false
	}
	if n == w.top && flags&unix.O_PATH != 0 {
		return fd, true
	}
	top := fd
	path, mask := w.pathOf(n, nil), w.mask
	if n == w.top {
		mask |= topChanges
	}
	fd, err = openWithin(top, path, flags|unix.O_DIRECTORY)
	unix.Close(top)
	if err == nil {
		if wd, err = w.addWatch(fd, mask); err == nil && wd == n.wd {
			return fd, true
		}
		unix.Close(fd)
	}
	switch {
	case err == nil || missing(err):
		n.missed = w.round
	case !leftOut(err):
		w.failAt(path, err)
	}
	return -1, false
}

// missing reports whether an error says that a path leads to no directory now.
func missing(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP
}

// leftOut reports whether a directory that cannot be opened is not watched. Other errors end the
// watch.
func leftOut(err error) bool {
	return missing(err) || err == unix.EXDEV || err == unix.EACCES || err == unix.EPERM
}

// failAt ends the watch because of a directory.
func (w *watch) failAt(path string, err error) {
	if err == unix.ENOSPC {
		w.crowded("of fs.inotify.max_user_watches")
		return
	}
	w.fail(sys.NewError("watch", w.root+"/"+path, err))
}

// crowded ends the watch because there are too many directories.
func (w *watch) crowded(limit string) {
	words := "watch " + w.root + ": too many directories (limit " + limit + ")"
	w.fail(&sys.WordedError{Errno: unix.ENOSPC, Words: words})
}

// pathOf returns the path of a name in a directory, for the kernel.
func (w *watch) pathOf(n *node, name []byte) string {
	path := n.appendPath(w.paths[0][:0], name)
	switch {
	case path == nil:
		w.fail(sys.NewError("watch", w.root, unix.ENAMETOOLONG))
	case len(path) == 0:
		return "."
	}
	w.service.Garbage.Add(2 * len(path))
	return string(path)
}

// arrive reports a directory that has appeared, and watches it.
func (w *watch) arrive(parent *node, name []byte) {
	if fd, ok := w.enter(parent, unix.O_PATH); ok {
		w.arriveIn(fd, parent, name)
		unix.Close(fd)
		return
	}
	w.replace(parent.named(name), parent, name)
	w.report(framing.WatchCreated, true, parent, name)
}

// arriveIn is arrive in an open directory.
func (w *watch) arriveIn(dir int, parent *node, name []byte) {
	if path := parent.appendPath(w.paths[0][:0], name); path != nil {
		w.longest = max(w.longest, len(path))
	}
	wd, err := w.watchAt(dir, name)
	was := parent.named(name)
	if err != nil {
		if !leftOut(err) {
			w.failAt(w.pathOf(parent, name), err)
			return
		}
		if missing(err) {
			parent.missed = w.round
		}
		w.replace(was, parent, name)
		w.report(framing.WatchCreated, true, parent, name)
		return
	}
	n := w.find(wd)
	if n != was {
		w.replace(was, parent, name)
	}
	switch {
	case n == nil && slices.Contains(w.gone, wd):
		w.restart() // it had another place a moment ago
	case n == nil:
		if w.service.dirs >= int(w.service.Dirs) {
			w.crowded(sys.Num(w.service.Dirs))
			return
		}
		w.report(framing.WatchCreated, true, parent, name)
		w.todo = append(w.todo, w.add(wd, parent, name))
	case n == was:
		w.report(framing.WatchCreated, true, parent, name)
	case n.dead || parent.within(n):
		w.restart()
	default:
		// It was renamed, and the events of that are still to come.
		w.reportRename(true, n.parent, []byte(n.name), parent, name)
		w.todo = append(w.todo, n.parent) // another may have its name there
		w.relocate(n, parent, name)
	}
}

// watchAt has the kernel watch a directory in an open one.
func (w *watch) watchAt(dir int, name []byte) (int32, error) {
	fd, err := openWithin(dir, string(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return 0, err
	}
	wd, err := w.addWatch(fd, w.mask)
	unix.Close(fd)
	return wd, err
}

// replace reports that the directory n is not there any more. It does nothing if n is
// nil.
func (w *watch) replace(n, parent *node, name []byte) {
	if n != nil {
		w.drop(n)
		w.report(framing.WatchRemoved, true, parent, name)
	}
}

// relocate moves a directory.
func (w *watch) relocate(n, parent *node, name []byte) {
	n.unlink()
	n.link(parent, name)
	if path := n.appendPath(w.paths[0][:0], nil); path != nil {
		w.longest += len(path)
	}
	// A directory that was not found may be there.
	n.each(func(x *node) {
		if x.missed != 0 && w.round-x.missed <= 1 {
			x.missed = 0
			w.todo = append(w.todo, x)
		}
	})
}

// unread reports whether the content of a directory is to be read.
func (w *watch) unread() bool { return w.scan >= 0 || len(w.todo) > 0 }

func (w *watch) closeScan() {
	if w.scan >= 0 {
		unix.Close(w.scan)
	}
	w.scan, w.at, w.size = -1, 0, 0
}

// read reads on in a directory, and reports an entry.
func (w *watch) read() {
	switch {
	case w.scan < 0:
		last := len(w.todo) - 1
		w.scanned, w.todo = w.todo[last], w.todo[:last]
		if !w.scanned.dead {
			if fd, ok := w.enter(w.scanned, unix.O_RDONLY|unix.O_NONBLOCK); ok {
				w.scan = fd
			}
		}
	case w.at == w.size:
		n, err := unix.Getdents(w.scan, w.entries[:])
		switch {
		case err == unix.EINTR:
		case err != nil && err != unix.ENOENT:
			w.failAt(w.pathOf(w.scanned, nil), err)
		case n <= 0:
			w.closeScan()
		default:
			w.at, w.size = 0, n
		}
	default:
		entry := w.entries[w.at:w.size]
		name := sys.EntryName(entry)
		w.at += sys.EntrySize(entry)
		w.entry(name[:len(name)-1], entry[18])
	}
}

// entry reports an entry of the directory that is read.
func (w *watch) entry(name []byte, kind byte) {
	if string(name) == "." || string(name) == ".." || w.hidden(name) {
		return
	}
	if kind == unix.DT_UNKNOWN {
		var st unix.Stat_t
		w.budget -= openWork
		if sys.Fstatat(w.scan, string(name), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			kind = unix.DT_DIR
		}
	}
	if kind != unix.DT_DIR {
		w.report(framing.WatchCreated, false, w.scanned, name)
		return
	}
	w.arriveIn(w.scan, w.scanned, name)
}
