package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// changeFile answers a change.
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

// change carries it out. What an operation makes, removes or renames is a name in a directory that is opened first; what it changes of a file is
// done to the file that was opened. So nothing that somebody puts in the way in between leads anywhere else.
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

// makeDir makes a directory, and with parents those that lead to it; then one that exists will do.
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
		return nil // another made it meanwhile
	}
	if err != nil {
		return sys.NewError("mkdir", path, err)
	}
	return setFullMode(e, path, mode)
}

// isDir reports whether a path leads to a directory.
func isDir(dir int, path string, safe bool) bool {
	fd, err := OpenAt(dir, path, unix.O_PATH|unix.O_DIRECTORY, safe)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// giveMode sees to it that a new directory has all of its mode: mkdir(2) takes no set-ID bits, and a default ACL or the set-group-ID bit of
// the directory around it change what it takes.
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

// removeFile removes a file, a link, or an empty directory.
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

func makeSymlink(path, says string, safe bool) error {
	e, err := OpenEntry("symlink", path, safe, false)
	if err != nil {
		return err
	}
	defer e.Close()
	return sys.Wrap("symlink", path, unix.Symlinkat(says, e.Dir, e.Base))
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

// openNode opens a file of any kind, of which something is to be changed. Opening it does nothing to it.
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
	return sys.Wrap("chown", path, unix.Fchownat(fd, "", int(int32(q.UID)), int(int32(q.GID)), unix.AT_EMPTY_PATH))
}

// changeTime sets when the content changed; when it was read last stays.
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
