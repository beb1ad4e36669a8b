package agent

import (
	"strings"

	"golang.org/x/sys/unix"
)

// staging is the file that takes a write_file's content as it arrives: a temporary file beside the target, which becomes it
// by a rename, or if there can be none a file without a name, which is copied into it.
type staging struct {
	open bool
	fd   int    // the file
	dir  int    // the directory of name
	name string // of the temporary file; empty if it has none
}

// named reports whether the file can be renamed.
func (s *staging) named() bool { return s.name != "" }

// openFor opens the staging file for a target. n tells temporary names apart.
func (s *staging) openFor(env []string, t *target, n uint32) error {
	if !t.regular() {
		return s.openSpool(env)
	}
	err := s.openBeside(t, n)
	if err != nil && t.exists {
		// A directory that takes no new file, as in /proc; the file itself may well be writable.
		return s.openSpool(env)
	}
	return err
}

func (s *staging) openBeside(t *target, n uint32) error {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	dir, err := unix.Open(t.dir, flags, 0)
	if err == unix.ENOENT && !t.exists {
		if err := makeDirs(t.dir); err != nil {
			return err
		}
		dir, err = unix.Open(t.dir, flags, 0)
	}
	if err != nil {
		return opError("open", t.dir, err)
	}
	name := ".wick-" + num(unix.Getpid()) + "-" + num(n)
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(dir)
		return opError("open", t.dir+"/"+name, err)
	}
	*s = staging{open: true, fd: fd, dir: dir, name: name}
	return nil
}

func (s *staging) openSpool(env []string) error {
	fd, err := openSpool(env)
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
	if err := unix.Renameat(s.dir, s.name, s.dir, t.base); err != nil {
		return opError("rename", t.path, err)
	}
	s.name = ""
	return nil
}

// dress gives the staging file the attributes that the target is to have. It looks at the target anew: much may have
// happened while the content came.
func (s *staging) dress(t *target) error {
	var old unix.Stat_t
	err := unix.Fstatat(s.dir, t.base, &old, unix.AT_SYMLINK_NOFOLLOW)
	if t.exists = err == nil; !t.exists {
		return wrapOp("fchmod", t.path, unix.Fchmod(s.fd, 0o644))
	}
	t.mode = old.Mode
	if !t.regular() {
		return opError("rename", t.path, unix.EEXIST)
	}
	var own unix.Stat_t
	if err := unix.Fstat(s.fd, &own); err != nil {
		return opError("fstat", t.path, err)
	}
	if own.Uid != old.Uid || own.Gid != old.Gid {
		if err := unix.Fchown(s.fd, int(old.Uid), int(old.Gid)); err != nil {
			return opError("fchown", t.path, err)
		}
	}
	// After the owner, a change of which clears the set-user-ID bit.
	if err := unix.Fchmod(s.fd, old.Mode&0o7777); err != nil {
		return opError("fchmod", t.path, err)
	}
	return s.copyXattrs(t)
}

// copyXattrs copies the extended attributes, and with them ACLs, capabilities and labels; xattr(7).
func (s *staging) copyXattrs(t *target) error {
	size, err := unix.Llistxattr(t.path, nil)
	if err == unix.ENOTSUP || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return opError("listxattr", t.path, err)
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(t.path, names); err != nil {
		return opError("listxattr", t.path, err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(t.path, name, value)
		if err != nil {
			return opError("getxattr", t.path, err)
		}
		if err := unix.Fsetxattr(s.fd, name, value[:n], 0); err != nil {
			return opError("setxattr", t.path, err)
		}
	}
	return nil
}

// discard removes what is left of the staging file. Doing it again does nothing.
func (s *staging) discard() {
	if !s.open {
		return
	}
	if s.name != "" {
		unix.Unlinkat(s.dir, s.name, 0)
	}
	if s.dir != 0 {
		unix.Close(s.dir)
	}
	unix.Close(s.fd)
	*s = staging{}
}

func wrapOp(op, object string, err error) error {
	if err == nil {
		return nil
	}
	return opError(op, object, err)
}
