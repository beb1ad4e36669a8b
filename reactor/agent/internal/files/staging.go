package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Staging is the file that takes content for a target as it arrives. It is a temporary file beside
// the target, which becomes the target by a rename. Where there can be none, it is a file without a
// name that is copied into the target.
type Staging struct {
	open bool
	FD   int    // the file
	Dir  int    // the directory of name
	name string // of the temporary file; empty if it has none
}

// NewStaging returns a staging file without a name. dir is the directory of its target, or 0.
func NewStaging(fd, dir int) Staging { return Staging{open: true, FD: fd, Dir: dir} }

// Named reports whether the file has a name, so that it can become the target.
func (s *Staging) Named() bool { return s.name != "" }

// OpenFor opens the staging file for a target, beside it if possible.
func (s *Staging) OpenFor(d *Disk, t *Target) error {
	if !t.Regular() {
		return s.OpenSpool(d)
	}
	err := s.OpenBeside(t, !t.Exists)
	if err != nil && t.Exists && !DiskFull(err) {
		// A directory that takes no new file, as in /proc; the file itself may well be writable.
		return s.OpenSpool(d)
	}
	return err
}

// DiskFull reports whether an error says that the disk is full. A file is not written in place then,
// because it would be in part neither the old one nor the new.
func DiskFull(err error) bool {
	errno := sys.ErrnoOf(err)
	return errno == unix.ENOSPC || errno == unix.EDQUOT
}

// OpenBeside opens a temporary file in the directory of the target. With parents it makes a missing
// directory.
func (s *Staging) OpenBeside(t *Target, parents bool) error {
	dir, err := WorkDir(t.Dir, t.Safe, parents)
	if err != nil {
		return err
	}
	if t.NoFollow() {
		if err := t.checkIn(dir); err != nil {
			unix.Close(dir)
			return err
		}
	}
	fd, name, err := createTemp(dir, "")
	if err != nil {
		unix.Close(dir)
		return sys.NewError("create", t.Path, err)
	}
	*s = Staging{open: true, FD: fd, Dir: dir, name: name}
	return nil
}

// OpenNear opens a file without a name for size bytes that are to be added to the target. It is on the
// target's file system if that has room for them twice.
func (s *Staging) OpenNear(d *Disk, t *Target, size int) error {
	var fs unix.Statfs_t
	if t.Regular() && unix.Statfs(t.Dir, &fs) == nil && fs.Bavail > 2*uint64(size)/uint64(fs.Bsize) {
		if fd, err := openUnnamed(t.Dir); err == nil {
			*s = Staging{open: true, FD: fd}
			return nil
		}
	}
	return s.OpenSpool(d)
}

// OpenSpool opens a file without a name.
func (s *Staging) OpenSpool(d *Disk) error {
	fd, err := d.OpenSpool(nil, nil)
	if err != nil {
		return err
	}
	*s = Staging{open: true, FD: fd}
	return nil
}

// Place makes the staging file the target. It takes the mode, owner and extended attributes of the
// file that it replaces.
func (s *Staging) Place(t *Target) error {
	if err := s.SetAttributes(t); err != nil {
		return err
	}
	return s.Rename(t)
}

// Rename renames the staging file to the target.
func (s *Staging) Rename(t *Target) (err error) {
	flags := uintptr(0)
	if t.Exclusive {
		flags = unix.RENAME_NOREPLACE
	}
	err = sys.RenameIn(s.Dir, s.name, t.Base, flags)
	if t.Exclusive && err == unix.EINVAL {
		// A file system that does not know the flag. A link never replaces anything either.
		if err = unix.Linkat(s.Dir, s.name, s.Dir, t.Base, 0); err == nil {
			unix.Unlinkat(s.Dir, s.name, 0)
		}
	}
	if err != nil {
		return sys.NewError("rename", t.Path, err)
	}
	s.name = ""
	return nil
}

// TurnToDir closes the file, which is in place, and opens its directory instead, to be synced.
func (s *Staging) TurnToDir(t *Target) error {
	fd, err := OpenAt(s.Dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, false)
	if err != nil {
		return sys.NewError("open", t.Dir, err)
	}
	unix.Close(s.FD)
	s.FD = fd
	return nil
}

// setID has the bits that give a program the rights of its owner or its group.
const setID = unix.S_ISUID | unix.S_ISGID

// Dress sets the attributes of the staging file to those that the target is to have. It looks at the
// target again, because it may have changed while the content came. The file that it finds stays open
// meanwhile, so that all attributes come from one file.
func (s *Staging) SetAttributes(t *Target) error {
	fd, err := sys.Openat(s.Dir, t.Base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		t.Exists = false
		return t.Given.Apply(s.FD, t.Path, 0o644)
	}
	if err != nil {
		return sys.NewError("open", t.Path, err)
	}
	defer sys.Close(fd)
	t.Exists = true
	var old, own unix.Stat_t
	if err := sys.Fstat(fd, &old); err != nil {
		return sys.NewError("fstat", t.Path, err)
	}
	t.mode = old.Mode
	if !t.Regular() || t.Exclusive {
		return sys.NewError("rename", t.Path, unix.EEXIST)
	}
	if err := sys.Fstat(s.FD, &own); err != nil {
		return sys.NewError("fstat", t.Path, err)
	}
	if own.Uid != old.Uid || own.Gid != old.Gid {
		if err := unix.Fchown(s.FD, int(old.Uid), int(old.Gid)); err != nil {
			return sys.NewError("fchown", t.Path, err)
		}
	}
	sys.Fremovexattr(s.FD, "system.posix_acl_access") // which it may have of the directory
	if err := s.copyXattrs(fd, &old, t.Path); err != nil {
		return err
	}
	mode := old.Mode & 0o7777
	if mode&setID != 0 && !s.trusts(&old) {
		mode &^= setID
	}
	// After the owner, a change of which clears the set-user-ID bit, and after an ACL, without which the mode may say more. Besides, the owner
	// too may set an attribute only of a file that can be written.
	if err := sys.Fchmod(s.FD, mode); err != nil {
		return sys.NewError("fchmod", t.Path, err)
	}
	if !t.Given.HasMode && !t.Given.HasOwner {
		return nil
	}
	return t.Given.Apply(s.FD, t.Path, mode)
}

// trusts reports whether the content may have the set-ID bits and the capabilities of the file that
// it replaces. A file with several names may be a program that another user has linked there, to
// have those rights given to whatever is written. One in a directory that others can write to may
// be the last of such names.
func (s *Staging) trusts(old *unix.Stat_t) bool {
	var dir unix.Stat_t
	return old.Nlink == 1 && sys.Fstat(s.Dir, &dir) == nil && dir.Mode&0o022 == 0 &&
		(dir.Uid == old.Uid || dir.Uid == 0 || dir.Uid == uint32(unix.Geteuid()))
}

// DropSetID clears the set-ID bits of a file before it is written in place. The kernel does so itself
// unless the writer is privileged, and clears the file's capabilities for any writer.
func DropSetID(fd int, path string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&setID == 0 {
		return nil
	}
	return sys.Wrap("fchmod", path, sys.Fchmod(fd, st.Mode&0o7777&^setID))
}

// Apply sets the owner of a file, if it is given, and the mode that is given or else mode. With a new
// owner, mode alone sets no set-ID bits.
func (g *Attributes) Apply(fd int, path string, mode uint32) error {
	if g.HasOwner {
		if err := unix.Fchown(fd, int(int32(g.UID)), int(int32(g.GID))); err != nil {
			return sys.NewError("fchown", path, err)
		}
	}
	switch {
	case g.HasMode:
		mode = g.Mode
	case g.HasOwner:
		mode &^= setID
	}
	return sys.Wrap("fchmod", path, sys.Fchmod(fd, mode&0o7777))
}

// copyXattrs copies the extended attributes of the open file old, and with them ACLs, capabilities
// and labels; xattr(7).
func (s *Staging) copyXattrs(fd int, old *unix.Stat_t, name string) error {
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
		if err := unix.Fsetxattr(s.FD, attr, value[:size], 0); err != nil {
			return sys.NewError("setxattr", name, err)
		}
	}
	return nil
}

// Discard removes what is left of the staging file, now or after the thaw. Doing it again does
// nothing.
func (s *Staging) Discard(d *Disk) {
	if !s.open {
		return
	}
	if d.Held() {
		d.stagings = append(d.stagings, *s)
		*s = Staging{}
		return
	}
	if s.name != "" {
		unix.Unlinkat(s.Dir, s.name, 0)
	}
	if s.Dir != 0 {
		sys.Close(s.Dir)
	}
	sys.Close(s.FD)
	*s = Staging{}
}
