package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Staging is the file that takes the content for a target as it arrives. Usually it is a temporary
// file beside the target, and a rename puts it in place. Where no such file can be created, it is a
// file without a name, and its content is copied into the target.
type Staging struct {
	open bool
	FD   int    // the file; Discard closes it
	Dir  int    // the directory of name; 0 for none
	name string // of the temporary file; empty if it has no name
}

// NewStaging returns a staging file without a name. It owns fd and dir, the directory of the target
// or 0.
func NewStaging(fd, dir int) Staging { return Staging{open: true, FD: fd, Dir: dir} }

// Named reports whether the file has a name, and so can be renamed to the target.
func (s *Staging) Named() bool { return s.name != "" }

// OpenFor opens the staging file for t, beside it if possible.
func (s *Staging) OpenFor(d *Disk, t *Target) error {
	if !t.Regular() {
		return s.OpenSpool(d)
	}
	err := s.OpenBeside(t, !t.Exists)
	if err != nil && t.Exists && !DiskFull(err) {
		// The directory takes no new files, as in /proc, but the target itself may be writable.
		return s.OpenSpool(d)
	}
	return err
}

// DiskFull reports whether err means that the disk is full. A target is not overwritten then,
// because it would end up with part of the new content.
func DiskFull(err error) bool {
	errno := sys.ErrnoOf(err)
	return errno == unix.ENOSPC || errno == unix.EDQUOT
}

// OpenBeside opens a temporary file in the target's directory. With parents it makes a missing
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

// OpenNear opens a file without a name for size bytes that will be appended to the target. It is on
// the target's file system if that has room for them twice.
func (s *Staging) OpenNear(d *Disk, t *Target, size int) error {
	var fs unix.Statfs_t
	known := t.Regular() && unix.Statfs(t.Dir, &fs) == nil
	if known && fs.Bavail > 2*uint64(size)/uint64(fs.Bsize) {
		if fd, err := openUnnamed(t.Dir); err == nil {
			*s = Staging{open: true, FD: fd}
			return nil
		}
	}
	return s.OpenSpool(d)
}

// OpenSpool opens a file without a name in a spool directory.
func (s *Staging) OpenSpool(d *Disk) error {
	fd, err := d.OpenSpool(nil, nil)
	if err != nil {
		return err
	}
	*s = Staging{open: true, FD: fd}
	return nil
}

// Place renames the staging file to the target. It gets the mode, owner and extended attributes of
// the file that it replaces.
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
		// The file system does not support the flag. A link never replaces a file either.
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

// TurnToDir closes the file, which is in place, and opens its directory instead, for the fsync of
// the name.
func (s *Staging) TurnToDir(t *Target) error {
	fd, err := OpenAt(s.Dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, false)
	if err != nil {
		return sys.NewError("open", t.Dir, err)
	}
	unix.Close(s.FD)
	s.FD = fd
	return nil
}

// setID are the bits that give a program the rights of its owner or group.
const setID = unix.S_ISUID | unix.S_ISGID

// SetAttributes gives the staging file the attributes of the target. It inspects the target again,
// because that may have changed since. The target stays open meanwhile, so that all attributes come
// from the same file.
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
	sys.Fremovexattr(s.FD, "system.posix_acl_access") // may come from the directory's default ACL
	if err := s.copyXattrs(fd, &old, t.Path); err != nil {
		return err
	}
	mode := old.Mode & 0o7777
	if mode&setID != 0 && !s.trusts(&old) {
		mode &^= setID
	}
	// The mode comes last. A change of owner clears the set-user-ID bit. Without its ACL the mode
	// may grant more. And only a writable file takes attributes, even from its owner.
	if err := sys.Fchmod(s.FD, mode); err != nil {
		return sys.NewError("fchmod", t.Path, err)
	}
	if !t.Given.HasMode && !t.Given.HasOwner {
		return nil
	}
	return t.Given.Apply(s.FD, t.Path, mode)
}

// trusts reports whether the content may get the set-ID bits and capabilities of the file that it
// replaces. A file with several names may be a program that another user has linked there, to get
// those rights for new content. In a directory that others can write to, it may be the last of such
// names.
func (s *Staging) trusts(old *unix.Stat_t) bool {
	var dir unix.Stat_t
	return old.Nlink == 1 && sys.Fstat(s.Dir, &dir) == nil && dir.Mode&0o022 == 0 &&
		(dir.Uid == old.Uid || dir.Uid == 0 || dir.Uid == uint32(unix.Geteuid()))
}

// DropSetID clears the set-ID bits of a file before it is overwritten. The kernel does that only
// for unprivileged writers. It clears capabilities for every writer.
func DropSetID(fd int, path string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&setID == 0 {
		return nil
	}
	return sys.Wrap("fchmod", path, sys.Fchmod(fd, st.Mode&0o7777&^setID))
}

// Apply sets the owner of a file if it is given, and the mode: the given one or else mode. With a
// new owner, mode does not set the set-ID bits.
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

// copyXattrs copies the extended attributes of the open file fd. They include ACLs, capabilities
// and labels; xattr(7).
func (s *Staging) copyXattrs(fd int, old *unix.Stat_t, name string) error {
	path := sys.FDPath(fd) // fgetxattr(2) refuses an O_PATH descriptor
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
		value := make([]byte, max(size, 0)+1) // with no room the kernel returns only the size
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

// Discard removes a staging file that is not in place, and closes its descriptors. A held disk
// defers that. Calling it again does nothing.
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
