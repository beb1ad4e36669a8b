package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// change handles a change.
func (s *Service) change(c *wire.Conn, p *framing.Part) error {
	q, err := framing.ParseChange(p.Data)
	if err != nil {
		return err
	}
	if s.mayWrite(c, p.Seq) {
		c.Done(p.Seq, 0, change(&q))
	}
	return nil
}

// change carries out a change. It opens the directory of a name before it creates, removes or
// renames that name, and opens a file before it changes it. So a program that swaps a path in
// between cannot redirect the change.
func change(q *framing.Change) error {
	path, other, safe := string(q.Path), string(q.Other), q.Flags&framing.FileSafe != 0
	switch q.Op {
	case framing.ChangeMkdir:
		return makeDir(path, q.Mode&0o7777, safe, q.Flags&framing.FileParents != 0)
	case framing.ChangeRemove:
		return removeFile(path, safe)
	case framing.ChangeRename:
		return renameFile(path, other, safe, q.Flags&framing.FileNoReplace != 0)
	case framing.ChangeSymlink:
		return makeSymlink(path, other, safe)
	case framing.ChangeLink:
		return makeLink(path, other, safe)
	case framing.ChangeMode:
		return changeMode(path, q.Mode&0o7777, safe)
	case framing.ChangeOwner:
		return changeOwner(path, q, safe)
	case framing.ChangeTime:
		return changeTime(path, q, safe)
	case framing.ChangeNode:
		return makeNode(path, q, safe)
	case framing.ChangeAttribute:
		return setAttribute(path, q.Other, safe)
	}
	return errors.New("change: unknown op " + sys.Num(uint32(q.Op)))
}

// makeDir makes a directory. With parents it makes missing parents too, and accepts a directory
// that exists.
func makeDir(path string, mode uint32, safe, parents bool) error {
	if parents && isDir(unix.AT_FDCWD, path, safe) {
		return nil
	}
	e, err := OpenEntry("mkdir", path, safe, parents)
	if err != nil {
		if sys.IsErrno(err, unix.EINVAL) && isDir(unix.AT_FDCWD, path, safe) {
			return sys.NewError("mkdir", path, unix.EEXIST)
		}
		return err
	}
	defer e.Close()
	defer unix.Umask(unix.Umask(0))
	err = unix.Mkdirat(e.Dir, e.Base, mode)
	if err == unix.EEXIST && parents && isDir(e.Dir, e.Base, safe) {
		return nil // another program made it meanwhile
	}
	if err != nil {
		return sys.NewError("mkdir", path, err)
	}
	return setFullMode(e, path, mode)
}

// isDir reports whether path leads to a directory.
func isDir(dir int, path string, safe bool) bool {
	fd, err := OpenAt(dir, path, unix.O_PATH|unix.O_DIRECTORY, safe)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// setFullMode sets the full mode of a new directory. mkdir(2) ignores the set-ID bits. The parent's
// default ACL or set-group-ID bit change the rest.
func setFullMode(e Entry, path string, mode uint32) error {
	fd, err := OpenAt(e.Dir, e.Base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, false)
	if err != nil {
		return sys.NewError("open", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return sys.NewError("fstat", path, err)
	}
	if st.Mode&0o7777 == mode {
		return nil
	}
	return sys.Wrap("chmod", path, unix.Chmod(sys.FDPath(fd), mode))
}

// removeFile removes a file, a symbolic link or an empty directory.
func removeFile(path string, safe bool) error {
	e, err := OpenEntry("unlink", path, safe, false)
	if err != nil {
		return err
	}
	defer e.Close()
	err = unix.Unlinkat(e.Dir, e.Base, 0)
	if err == unix.EISDIR {
		return sys.Wrap("rmdir", path, unix.Unlinkat(e.Dir, e.Base, unix.AT_REMOVEDIR))
	}
	return sys.Wrap("unlink", path, err)
}

func renameFile(from, to string, safe, noReplace bool) error {
	f, err := OpenEntry("rename", from, safe, false)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := OpenEntry("rename", to, safe, false)
	if err != nil {
		return err
	}
	defer t.Close()
	if noReplace {
		err = unix.Renameat2(f.Dir, f.Base, t.Dir, t.Base, unix.RENAME_NOREPLACE)
	} else {
		err = unix.Renameat(f.Dir, f.Base, t.Dir, t.Base)
	}
	return sys.Wrap("rename", from, err)
}

func makeSymlink(path, target string, safe bool) error {
	e, err := OpenEntry("symlink", path, safe, false)
	if err != nil {
		return err
	}
	defer e.Close()
	return sys.Wrap("symlink", path, unix.Symlinkat(target, e.Dir, e.Base))
}

func makeLink(path, file string, safe bool) error {
	old, err := OpenEntry("link", file, safe, false)
	if err != nil {
		return err
	}
	defer old.Close()
	e, err := OpenEntry("link", path, safe, false)
	if err != nil {
		return err
	}
	defer e.Close()
	return sys.Wrap("link", path, unix.Linkat(old.Dir, old.Base, e.Dir, e.Base, 0))
}

// openNode opens a file of any kind with O_PATH, which has no effect on it.
func openNode(op, path string, safe, follow bool) (int, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := OpenAt(unix.AT_FDCWD, path, flags, safe)
	return fd, sys.Wrap(op, path, err)
}

func changeMode(path string, mode uint32, safe bool) error {
	fd, err := openNode("chmod", path, safe, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.Wrap("chmod", path, unix.Chmod(sys.FDPath(fd), mode))
}

func changeOwner(path string, q *framing.Change, safe bool) error {
	fd, err := openNode("chown", path, safe, q.Flags&framing.FileNoFollow == 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Fchownat(fd, "", int(int32(q.UID)), int(int32(q.GID)), unix.AT_EMPTY_PATH)
	return sys.Wrap("chown", path, err)
}

// changeTime sets the modification time, and leaves the access time.
func changeTime(path string, q *framing.Change, safe bool) error {
	fd, err := openNode("utimensat", path, safe, q.Flags&framing.FileNoFollow == 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sec, nsec := q.ModTime/1e9, q.ModTime%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: nsec}}
	return sys.Wrap("utimensat", path, unix.UtimesNanoAt(unix.AT_FDCWD, sys.FDPath(fd), times, 0))
}
