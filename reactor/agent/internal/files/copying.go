package files

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// commitTimeout limits how long a whole write_file waits for a FIFO's reader or for sudo.
const commitTimeout = 30 * time.Second

// copying writes staged content into a target that cannot be replaced by a rename: a device, a
// FIFO, a file of /proc, a mount point, a file whose owner cannot be kept, or a file that is
// appended to. It copies one buffer a turn, and waits for a target that is full.
type copying struct {
	upload   *upload
	target   reactor.Descriptor
	fd       int
	file     bool // a regular file by its mode, as files of /proc and /sys are
	oldSize  int64
	offset   int64
	turn     reactor.Timer
	deadline reactor.Timer // after commitTimeout
}

// open opens the target and starts to copy. Every failure is replied to the upload.
func (w *copying) open(u *upload) {
	w.upload = u
	t := &u.target
	flags := unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if u.append {
		flags |= unix.O_APPEND
	}
	fd, err := unix.Open(t.Path, flags, 0)
	if err != nil {
		u.err = sys.NewError("open", t.Path, err)
		u.finish()
		return
	}
	w.fd = fd
	loop := u.service.Loop
	loop.Attach(&w.target, fd, w)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		w.file, w.oldSize = true, st.Size
		if err := DropSetID(fd, t.Path, &st); err != nil {
			w.close()
			u.err = err
			u.finish()
			return
		}
		if u.size > 0 {
			// The old content is overwritten only once there is room for all of the new, holes
			// included.
			start := int64(0)
			if u.append {
				start = st.Size
			}
			err := unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, start, u.size)
			if err == unix.ENOSPC || err == unix.EDQUOT || err == unix.EFBIG {
				w.finish("write", err)
				return
			}
		}
	}
	loop.Start(&w.deadline, commitTimeout, w)
	loop.Start(&w.turn, 0, w)
}

// Expired implements [reactor.TimerHandler], for the next turn and the deadline.
func (w *copying) Expired(t *reactor.Timer) {
	if t == &w.deadline {
		if s := w.upload.service; s.Disk.Held() {
			s.Loop.Start(&w.deadline, commitTimeout, w)
			return
		}
		w.finish("write", unix.ETIMEDOUT)
		return
	}
	w.step()
}

// Ready implements [reactor.Handler]: the target takes more.
func (w *copying) Ready(reactor.Events) {
	w.target.Want(0)
	w.step()
}

// step copies one buffer.
func (w *copying) step() {
	u := w.upload
	if disk := u.service.Disk; disk.Held() {
		disk.OnRelease(w.resume)
		return
	}
	loop := u.service.Loop
	b := loop.Scratch()
	b = b[:min(int64(len(b)), u.size-w.offset)]
	if len(b) == 0 {
		if w.oldSize > u.size && !u.append {
			if err := unix.Ftruncate(w.fd, u.size); err != nil {
				w.finish("ftruncate", err)
				return
			}
		}
		w.finish("", nil)
		return
	}
	n, err := unix.Pread(u.stage.FD, b, w.offset)
	if err == nil && n == 0 {
		err = unix.EIO
	}
	if err == nil {
		n, err = unix.Write(w.fd, b[:n])
	}
	switch {
	case err == nil:
		w.offset += int64(n)
		loop.Start(&w.turn, 0, w)
	case err == unix.EINTR:
		loop.Start(&w.turn, 0, w)
	case err == unix.EAGAIN && !w.file:
		w.target.Want(reactor.Write)
	default:
		// EAGAIN of a file is final: memory.reclaim returns it if too little could be reclaimed.
		w.finish("write", err)
	}
}

// resume continues after a thaw.
func (w *copying) resume() {
	if w.target.Open() {
		w.upload.service.Loop.Start(&w.turn, 0, w)
	}
}

// finish closes the target and replies. op is the operation that err comes from.
func (w *copying) finish(op string, err error) {
	if err != nil {
		w.undo()
	}
	w.close()
	if err != nil {
		w.upload.err = sys.NewError(op, w.upload.target.Path, err)
	}
	w.upload.finish()
}

// undo restores the old length of a file that was only appended to, by no other program. It also
// frees the allocated blocks.
func (w *copying) undo() {
	var st unix.Stat_t
	added := w.upload.append || w.offset == 0
	if w.file && added && unix.Fstat(w.fd, &st) == nil && st.Size == w.oldSize+w.offset {
		unix.Ftruncate(w.fd, w.oldSize)
	}
}

// Failed implements [reactor.Failer].
func (w *copying) Failed(value any, stack []byte) {
	w.upload.service.Log.Panic("write_file", value, stack)
	w.finish("write", unix.EIO)
}

// close releases the target and the timers. Calling it again does nothing.
func (w *copying) close() {
	w.turn.Stop()
	w.deadline.Stop()
	w.target.Close()
}
