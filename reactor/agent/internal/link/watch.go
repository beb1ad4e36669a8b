package link

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// watch reports that a path may have become another file. It uses inotify(7) on the file and on the
// directory themselves, so files that come and go in the directory cause no wakeup.
type watch struct {
	reactor.Descriptor
	changed func()
}

func (w *watch) open(l *reactor.Loop, path string, changed func()) error {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return sys.NewError("inotify_init", path, err)
	}
	// If an open file is deleted, or another is renamed over it, its lower link count is reported
	// as IN_ATTRIB.
	_, err = unix.InotifyAddWatch(fd, path,
		unix.IN_ATTRIB|unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_DONT_FOLLOW)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, dirOf(path), unix.IN_MOVE_SELF)
	}
	if err != nil {
		unix.Close(fd)
		return sys.NewError("inotify_add_watch", path, err)
	}
	w.changed = changed
	l.Attach(&w.Descriptor, fd, w)
	w.Want(reactor.Read)
	return nil
}

// Ready implements [reactor.Handler].
func (w *watch) Ready(reactor.Events) {
	var buf [1024]byte
	unix.Read(w.FD(), buf[:])
	w.changed()
}

// Failed implements [reactor.Failer]. The watch goes on.
func (w *watch) Failed(any, []byte) {}
