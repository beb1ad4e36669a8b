package launch

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Account is the user that a process runs as. The zero Account is the agent's own.
type Account struct {
	User  *reactor.User // nil: the agent's own
	asked bool          // the request named a user
	named bool          // the user has an entry in /etc/passwd, from which the fields below come
	name  string
	home  string
	shell string
}

// maxGroups limits the supplementary groups of a user. Further ones are left out.
const maxGroups = 1024

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// FindAccount looks up text: "name", "uid", "name:group", "uid:gid" and the like. The empty text is
// the agent's own account. root reports whether the agent is root.
//
// The error wraps ENOENT if the account does not exist, and EPERM if the agent may not switch to
// it. Any other error comes from reading the files.
func FindAccount(text string, root bool) (acc Account, err error) {
	if text == "" {
		return acc, nil
	}
	acc.asked = true
	user, group, grouped := sys.Cut(text, ':')
	uid, isNumber := sys.ParseNumber(user)
	u := &reactor.User{UID: uid, GID: uid}
	if err := findUser(user, isNumber, &acc, u); err != nil {
		return acc, err
	}
	if !acc.named && (!isNumber || uid == 1<<32-1) {
		return acc, sys.NewError("user", text, unix.ENOENT)
	}
	if err := findGroups(group, grouped, acc.name, u); err != nil {
		return acc, err
	}
	if !root {
		if u.UID != uint32(unix.Geteuid()) || grouped && u.GID != uint32(unix.Getegid()) {
			return acc, sys.NewError("user", text, unix.EPERM)
		}
		return acc, nil // the agent's own account keeps its groups
	}
	acc.User = u
	return acc, nil
}

// findUser looks up a user by name, or by the number that the name spells.
func findUser(name string, isNumber bool, acc *Account, u *reactor.User) error {
	number := u.UID
	var r tableReader
	if err := r.open(passwdFile); err != nil {
		if sys.IsErrno(err, unix.ENOENT) {
			return nil
		}
		return err
	}
	defer r.close()
	for r.hasMore() {
		// name:password:uid:gid:comment:home:shell; passwd(5)
		entry := r.nextField()
		r.skipField()
		uid, ok := sys.ParseNumber(r.nextField())
		gid, ok2 := sys.ParseNumber(r.nextField())
		byNumber := isNumber && uid == number && !acc.named // the first entry with the number wins
		if !ok || !ok2 || entry == "" || entry != name && !byNumber {
			r.endLine()
			continue
		}
		r.skipField()
		u.UID, u.GID = uid, gid
		acc.named, acc.name, acc.home, acc.shell = true, entry, r.nextField(), r.nextField()
		r.endLine()
		if entry == name {
			break
		}
	}
	return r.err
}

// findGroups sets the requested group, if any, and the groups of which name is a member.
func findGroups(group string, grouped bool, name string, u *reactor.User) error {
	found := !grouped
	if gid, ok := sys.ParseNumber(group); ok && gid != 1<<32-1 {
		u.GID, found = gid, true
	}
	if found && name == "" {
		return nil
	}
	var r tableReader
	err := r.open(groupFile)
	if err == nil {
		defer r.close()
		for r.hasMore() {
			// name:password:gid:member,member; group(5)
			entry := r.nextField()
			r.skipField()
			gid, ok := sys.ParseNumber(r.nextField())
			if ok && !found && entry != "" && entry == group {
				u.GID, found = gid, true
			}
			for ok && name != "" && r.hasMore() && !r.atEnd() {
				if r.nextItem() == name && len(u.Groups) < maxGroups {
					u.Groups = append(u.Groups, gid)
				}
			}
			r.endLine()
		}
		err = r.err
	} else if sys.IsErrno(err, unix.ENOENT) {
		err = nil
	}
	if err == nil && !found {
		err = sys.NewError("group", group, unix.ENOENT)
	}
	return err
}

// env returns the environment entries that describe the user. A user without an entry in
// /etc/passwd has only HOME.
func (acc *Account) env() []string {
	if !acc.named {
		return []string{"HOME=/"}
	}
	shell := acc.shell
	if shell == "" {
		shell = "/bin/sh" // passwd(5)
	}
	return []string{"HOME=" + acc.home, "USER=" + acc.name, "LOGNAME=" + acc.name, "SHELL=" + shell}
}

// tableReader reads the fields of a text file in bounded memory, however long the file or a line
// is.
type tableReader struct {
	fd       int
	err      error
	name     string
	buf      [2 << 10]byte
	at, end  int
	finished bool
	field    []byte // the current field, cut at unix.PathMax bytes
}

// open opens a table. It refuses what could make the loop wait for another process in the machine:
// a FIFO, a FUSE mount, a magic link of /proc.
func (r *tableReader) open(name string) error {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &how)
	switch {
	case err == unix.ENOSYS:
		fd, err = unix.Open(name, flags, 0)
	case err == unix.EXDEV && !mayBlock(name):
		how.Resolve = unix.RESOLVE_NO_SYMLINKS
		fd, err = unix.Openat2(unix.AT_FDCWD, name, &how)
	}
	if err != nil {
		return sys.NewError("open", name, err)
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return sys.NewError("open", name, unix.EINVAL)
	}
	r.fd, r.name = fd, name
	return nil
}

// mayBlock reports whether another process or machine may serve the file system that holds path. It
// does not follow links. An unknown file system type counts as one that may.
func mayBlock(path string) bool {
	var r tableReader
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	r.fd = fd
	defer r.close()
	longest, known := 0, false
	for r.hasMore() {
		// id parent device root place options… - type source options; proc_pid_mountinfo(5)
		for range 4 {
			r.nextWord()
		}
		place := r.nextWord()
		for r.hasMore() && !r.atEnd() && r.nextWord() != "-" {
		}
		kind := r.nextWord()
		r.endLine()
		n := len(place)
		prefix := n <= len(path) && path[:n] == place
		within := place == "/" || prefix && (n == len(path) || path[n] == '/')
		if !within || n < longest {
			continue
		}
		longest = n // of two mounts at one place the later one is on top
		switch kind {
		case "ext4", "xfs", "btrfs", "f2fs", "squashfs", "erofs",
			"overlay", "tmpfs", "ramfs", "rootfs":
			known = true
		default:
			known = false
		}
	}
	return !known
}

func (r *tableReader) close() { unix.Close(r.fd) }

// hasMore reports whether there is another byte, and reads the next buffer if needed.
func (r *tableReader) hasMore() bool {
	for r.at == r.end && !r.finished {
		n, err := unix.Read(r.fd, r.buf[:])
		if err == unix.EINTR {
			continue
		}
		r.at, r.end, r.finished = 0, max(n, 0), n <= 0
		if err != nil {
			r.err = sys.NewError("read", r.name, err)
		}
	}
	return !r.finished
}

// atEnd reports whether the current line is at its end. The caller has seen hasMore report true.
func (r *tableReader) atEnd() bool { return r.buf[r.at] == '\n' }

// readUntil reads a field up to a colon or sep, and skips that separator. It stops before a
// newline.
func (r *tableReader) readUntil(sep byte) {
	r.field = r.field[:0]
	for r.hasMore() && !r.atEnd() {
		c := r.buf[r.at]
		r.at++
		if c == ':' || c == sep {
			return
		}
		if len(r.field) < unix.PathMax {
			r.field = append(r.field, c)
		}
	}
}

// nextField returns the next field of the line; empty at the end of the line.
func (r *tableReader) nextField() string {
	r.readUntil(':')
	return string(r.field)
}

// nextItem returns the next item of a comma-separated list; empty at the end of the line.
func (r *tableReader) nextItem() string {
	r.readUntil(',')
	return string(r.field)
}

// nextWord returns the text up to the next space.
func (r *tableReader) nextWord() string {
	r.field = r.field[:0]
	for r.hasMore() && !r.atEnd() {
		c := r.buf[r.at]
		if r.at++; c == ' ' {
			break
		}
		if len(r.field) < unix.PathMax {
			r.field = append(r.field, c)
		}
	}
	return string(r.field)
}

// skipField skips one field.
func (r *tableReader) skipField() { r.readUntil(':') }

// endLine skips the rest of the line.
func (r *tableReader) endLine() {
	for r.hasMore() {
		r.at++
		if r.buf[r.at-1] == '\n' {
			return
		}
	}
}
