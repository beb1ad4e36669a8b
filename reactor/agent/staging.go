package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// staging is the file that takes the content of a write_file or a write as it arrives: a temporary file beside the target, which becomes it
// by a rename, or if there can be none a file without a name, which is copied into it.
type staging struct {
	open bool
	fd   int    // the file
	dir  int    // the directory of name
	name string // of the temporary file; empty if it has none
}

// named reports whether the file can be renamed.
func (s *staging) named() bool { return s.name != "" }

// openFor opens the staging file for a target.
func (s *staging) openFor(a *Agent, t *target) error {
	if !t.regular() {
		return s.openSpool(a)
	}
	err := s.openBeside(t, !t.exists)
	if err != nil && t.exists && !diskFull(err) {
		// A directory that takes no new file, as in /proc; the file itself may well be writable.
		return s.openSpool(a)
	}
	return err
}

// diskFull reports whether an error says that there is no room. A file is not written in place for want of it: it would be, in part, neither the
// old one nor the new.
func diskFull(err error) bool {
	errno := sys.ErrnoOf(err)
	return errno == unix.ENOSPC || errno == unix.EDQUOT
}

// openBeside opens a temporary file in the directory of the target, which is made if it is missing and parents says so.
func (s *staging) openBeside(t *target, parents bool) error {
	dir, err := workDir(t.dir, t.safe, parents)
	if err != nil {
		return err
	}
	if t.nameAlone() {
		if err := t.lookIn(dir); err != nil {
			unix.Close(dir)
			return err
		}
	}
	fd, name, err := createTemp(dir, "")
	if err != nil {
		unix.Close(dir)
		return sys.NewError("create", t.path, err)
	}
	*s = staging{open: true, fd: fd, dir: dir, name: name}
	return nil
}

// openNear opens a file without a name for size bytes that are to be added to the target: on the target's file system, if that has
// room for them twice.
func (s *staging) openNear(a *Agent, t *target, size int) error {
	var fs unix.Statfs_t
	if t.regular() && unix.Statfs(t.dir, &fs) == nil && fs.Bavail > 2*uint64(size)/uint64(fs.Bsize) {
		if fd, err := unnamed(t.dir); err == nil {
			*s = staging{open: true, fd: fd}
			return nil
		}
	}
	return s.openSpool(a)
}

func (s *staging) openSpool(a *Agent) error {
	fd, err := a.openSpool(nil, nil)
	if err != nil {
		return err
	}
	*s = staging{open: true, fd: fd}
	return nil
}

// place makes the staging file the target, with the mode, owner and extended attributes of the one that it replaces.
func (s *staging) place(t *target) error {
	if err := s.dress(t); err != nil {
		return err
	}
	return s.rename(t)
}

// rename gives the staging file the target's name.
func (s *staging) rename(t *target) (err error) {
	flags := uintptr(0)
	if t.exclusive {
		flags = unix.RENAME_NOREPLACE
	}
	err = sys.RenameIn(s.dir, s.name, t.base, flags)
	if t.exclusive && err == unix.EINVAL {
		// A file system that does not know the flag. A link never replaces anything either.
		if err = unix.Linkat(s.dir, s.name, s.dir, t.base, 0); err == nil {
			unix.Unlinkat(s.dir, s.name, 0)
		}
	}
	if err != nil {
		return sys.NewError("rename", t.path, err)
	}
	s.name = ""
	return nil
}

// turnToDir lets go of the file, which has its name, and opens the directory of it in its stead, to be synced.
func (s *staging) turnToDir(t *target) error {
	fd, err := openAt(s.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, false)
	if err != nil {
		return sys.NewError("open", t.dir, err)
	}
	unix.Close(s.fd)
	s.fd = fd
	return nil
}

// setID are the bits that give a program the rights of its owner or its group.
const setID = unix.S_ISUID | unix.S_ISGID

// dress gives the staging file the attributes that the target is to have. It looks at the target
// anew, because much may have happened while the content came. What it finds stays open, so that
// all attributes are those of one file.
func (s *staging) dress(t *target) error {
	fd, err := sys.Openat(s.dir, t.base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		t.exists = false
		return t.given.apply(s.fd, t.path, 0o644)
	}
	if err != nil {
		return sys.NewError("open", t.path, err)
	}
	defer sys.Close(fd)
	t.exists = true
	var old, own unix.Stat_t
	if err := sys.Fstat(fd, &old); err != nil {
		return sys.NewError("fstat", t.path, err)
	}
	t.mode = old.Mode
	if !t.regular() || t.exclusive {
		return sys.NewError("rename", t.path, unix.EEXIST)
	}
	if err := sys.Fstat(s.fd, &own); err != nil {
		return sys.NewError("fstat", t.path, err)
	}
	if own.Uid != old.Uid || own.Gid != old.Gid {
		if err := unix.Fchown(s.fd, int(old.Uid), int(old.Gid)); err != nil {
			return sys.NewError("fchown", t.path, err)
		}
	}
	sys.Fremovexattr(s.fd, "system.posix_acl_access") // which it may have of the directory
	if err := s.copyXattrs(fd, &old, t.path); err != nil {
		return err
	}
	mode := old.Mode & 0o7777
	if mode&setID != 0 && !s.trusts(&old) {
		mode &^= setID
	}
	// After the owner, a change of which clears the set-user-ID bit, and after an ACL, without which the mode may say more. Besides, the owner
	// too may set an attribute only of a file that can be written.
	if err := sys.Fchmod(s.fd, mode); err != nil {
		return sys.NewError("fchmod", t.path, err)
	}
	if !t.given.moded && !t.given.owned {
		return nil
	}
	return t.given.apply(s.fd, t.path, mode)
}

// trusts reports whether the content may have the set-ID bits and the capabilities of the file that
// it replaces. A file with several names may be a program that another user has linked there, to
// have those rights given to whatever is written. One in a directory that others can write to may
// be the last of such names.
func (s *staging) trusts(old *unix.Stat_t) bool {
	var dir unix.Stat_t
	return old.Nlink == 1 && sys.Fstat(s.dir, &dir) == nil && dir.Mode&0o022 == 0 &&
		(dir.Uid == old.Uid || dir.Uid == 0 || dir.Uid == uint32(unix.Geteuid()))
}

// dropSetID takes its set-ID bits from a file that is about to be written in place, as the kernel
// does unless the writer is privileged. The kernel drops the file's capabilities whoever writes.
func dropSetID(fd int, path string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&setID == 0 {
		return nil
	}
	return sys.Wrap("fchmod", path, sys.Fchmod(fd, st.Mode&0o7777&^setID))
}

// apply gives a file its owner, if that is given, and its mode, or else the one that it is to have
// without. A new owner's rights are lent only by a mode that is given too.
func (g *attributes) apply(fd int, path string, mode uint32) error {
	if g.owned {
		if err := unix.Fchown(fd, int(int32(g.uid)), int(int32(g.gid))); err != nil {
			return sys.NewError("fchown", path, err)
		}
	}
	switch {
	case g.moded:
		mode = g.mode
	case g.owned:
		mode &^= setID
	}
	return sys.Wrap("fchmod", path, sys.Fchmod(fd, mode&0o7777))
}

// copyXattrs copies the extended attributes of the open file old, and with them ACLs, capabilities
// and labels; xattr(7).
func (s *staging) copyXattrs(fd int, old *unix.Stat_t, name string) error {
	path := sys.FDPath(fd) // which leads to that file alone; fgetxattr(2) does not take what was opened with O_PATH
	size, err := sys.ListxattrSize(path)
	if err == unix.ENOTSUP || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return sys.NewError("listxattr", name, err)
	}
	names := make([]byte, size)
	if size, err = unix.Listxattr(path, names); err != nil {
		return sys.NewError("listxattr", name, err)
	}
	for rest := string(names[:size]); rest != ""; {
		var attr string
		attr, rest, _ = sys.Cut(rest, 0)
		if attr == "security.capability" && !s.trusts(old) {
			continue
		}
		size, err := unix.Getxattr(path, attr, nil)
		value := make([]byte, max(size, 0)+1) // one more: with no room at all only the size is told
		if err == nil {
			size, err = unix.Getxattr(path, attr, value)
		}
		if err != nil {
			return sys.NewError("getxattr", name, err)
		}
		if err := unix.Fsetxattr(s.fd, attr, value[:size], 0); err != nil {
			return sys.NewError("setxattr", name, err)
		}
	}
	return nil
}

// discard removes what is left of the staging file, or has it removed after the thaw. Doing it again does nothing.
func (s *staging) discard(a *Agent) {
	if !s.open {
		return
	}
	if a.isFrozen() {
		a.freezer.stagings = append(a.freezer.stagings, *s)
		*s = staging{}
		return
	}
	if s.name != "" {
		unix.Unlinkat(s.dir, s.name, 0)
	}
	if s.dir != 0 {
		sys.Close(s.dir)
	}
	sys.Close(s.fd)
	*s = staging{}
}
