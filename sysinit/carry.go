//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// carry copies the image's content of a directory into the file system mounted over it. An image
// made for containers relies on its /run. It holds the directories of daemons (/run/mysqld,
// /run/sshd, /run/php) with the owners that the daemons need.
//
// Entries keep type, owner, mode, content, times, extended attributes and hard links. An entry that
// is there already stays. The file system's own size bounds the copy. A file that does not fit is
// left out and the rest goes on. The first failure is the row's error.
type carry struct {
	path string
	// nodes copies only what belongs in /dev: nodes with a driver, links, FIFOs and directories. A
	// file there is left over from a program that missed a node.
	nodes bool
	// top gives the mounted directory the owner and mode of the image's directory.
	top bool
}

func (c carry) String() string { return "copy the image's " + c.path }

// hold opens a directory of the image before something is mounted on it, for a later carry.
type hold struct {
	path string
}

func (h hold) String() string { return "open the image's " + h.path }

func (h hold) run(m *machine) error {
	fd, err := unix.Open(h.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return fault("open", h.path, "", err, "")
	}
	m.held = append(m.held, held{h.path, fd})
	return nil
}

// held is a directory that a hold has opened.
type held struct {
	path string
	fd   int
}

// release closes the held directories.
func (m *machine) release() {
	for _, h := range m.held {
		unix.Close(h.fd)
	}
	m.held = nil
}

func (c carry) run(m *machine) error {
	from := -1
	for _, h := range m.held {
		if h.path == c.path {
			from = h.fd
		}
	}
	if from < 0 {
		return nil
	}
	to, err := unix.Open(c.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", c.path, "", err, "")
	}
	defer unix.Close(to)
	p := porter{carry: c, top: to}
	p.dir(from, to, c.path, 0)
	if c.top {
		p.attributes(from, to, c.path)
	}
	return p.err
}

// porter is the state of a running carry.
type porter struct {
	carry
	top   int // the directory copied to
	names []named
	buf   []byte
	err   error // the first
}

// maxDepth bounds the nesting of directories, because each level costs two descriptors.
const maxDepth = 64

// fail keeps the first error. It reports whether err is one.
func (p *porter) fail(op, path string, err error) bool {
	if err == nil {
		return false
	}
	if p.err == nil {
		p.err = fault(op, path, "", err, "")
	}
	return true
}

// dir copies the content of a directory. path is for errors.
func (p *porter) dir(from, to int, path string, depth int) {
	if depth == maxDepth {
		p.fail("copy", path, unix.ELOOP)
		return
	}
	for _, name := range list(from) {
		var st unix.Stat_t
		at := path + "/" + name
		if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); p.fail("stat", at, err) {
			continue
		}
		if p.nodes && !p.belongs(&st, at) {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			p.directory(from, to, name, at, depth)
			continue
		}
		if first := p.first(&st); first != "" {
			if err := unix.Linkat(p.top, first, to, name, 0); err != unix.EEXIST {
				p.fail("link", at, err)
			}
			continue
		}
		made, err := p.entry(from, to, name, &st)
		if p.fail("copy", at, err) || !made {
			continue
		}
		if st.Nlink > 1 {
			p.names = append(p.names, named{st.Ino, at[len(p.path)+1:]})
		}
	}
}

// named is a file with several names, and the first of them.
type named struct {
	ino  uint64
	path string
}

// first returns the name under which the file was copied already, or "".
func (p *porter) first(st *unix.Stat_t) string {
	if st.Nlink > 1 {
		for _, n := range p.names {
			if n.ino == st.Ino {
				return n.path
			}
		}
	}
	return ""
}

// belongs reports whether an entry belongs in /dev. The mount points of devpts, mqueue and /dev/shm
// do not, because they have mounts of their own.
func (p *porter) belongs(st *unix.Stat_t, path string) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return path != "/dev/pts" && path != "/dev/shm" && path != "/dev/mqueue"
	case unix.S_IFLNK, unix.S_IFIFO:
		return true
	case unix.S_IFCHR:
		return exists("/sys/dev/char/" + deviceNumber(st.Rdev))
	case unix.S_IFBLK:
		return exists("/sys/dev/block/" + deviceNumber(st.Rdev))
	}
	return false
}

func (p *porter) directory(from, to int, name, path string, depth int) {
	err := unix.Mkdirat(to, name, 0o700)
	made := err == nil
	if err != unix.EEXIST && p.fail("mkdir", path, err) {
		return
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	in, err := unix.Openat(from, name, flags, 0)
	if p.fail("open", path, err) {
		return
	}
	defer unix.Close(in)
	out, err := unix.Openat(to, name, flags, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return // something else is there and stays
	}
	if p.fail("open", path, err) {
		return
	}
	defer unix.Close(out)
	p.dir(in, out, path, depth+1)
	if made || !p.nodes {
		p.attributes(in, out, path)
	}
}

// entry copies anything but a directory. It reports whether it made the entry.
func (p *porter) entry(from, to int, name string, st *unix.Stat_t) (made bool, err error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return p.file(from, to, name)
	case unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, target); err == nil {
			err = unix.Symlinkat(string(target[:n]), to, name)
		}
	default:
		err = unix.Mknodat(to, name, st.Mode, int(st.Rdev))
	}
	if err == nil {
		err = unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == unix.EEXIST {
		return false, nil
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW)
	return true, err
}

// file copies a regular file completely or not at all.
func (p *porter) file(from, to int, name string) (made bool, err error) {
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC,
		0)
	if err != nil {
		return false, err
	}
	defer unix.Close(in)
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err == unix.EEXIST {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(out)
	if err := p.content(in, out); err != nil {
		unix.Unlinkat(to, name, 0)
		return false, err
	}
	p.attributes(in, out, p.path)
	return true, nil
}

// content copies bytes. Blocks of zeros become holes, because they cost memory here.
func (p *porter) content(in, out int) error {
	if p.buf == nil {
		p.buf = make([]byte, 64<<10)
	}
	for at := int64(0); ; {
		n, err := unix.Read(in, p.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.Ftruncate(out, at)
		}
		if !zeros(p.buf[:n]) {
			wrote, err := unix.Pwrite(out, p.buf[:n], at)
			if err == nil && wrote < n {
				err = unix.ENOSPC
			}
			if err != nil {
				return err
			}
		}
		at += int64(n)
	}
}

func zeros(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// attributes gives out the owner, mode, extended attributes and times of in. The owner comes first,
// because a change of owner removes mode bits and attributes.
func (p *porter) attributes(in, out int, path string) {
	var st unix.Stat_t
	if p.fail("stat", path, unix.Fstat(in, &st)) {
		return
	}
	p.fail("chown", path, unix.Fchown(out, int(st.Uid), int(st.Gid)))
	p.fail("chmod", path, unix.Fchmod(out, st.Mode&0o7777))
	var names [4096]byte
	n, _ := unix.Flistxattr(in, names[:]) // a longer list is not copied
	for rest := names[:max(n, 0)]; len(rest) > 0; {
		name := unix.ByteSliceToString(rest)
		rest = rest[min(len(name)+1, len(rest)):]
		var value [4096]byte
		if n, err := unix.Fgetxattr(in, name, value[:]); err == nil {
			unix.Fsetxattr(out, name, value[:n], 0) // tmpfs takes user attributes since Linux 6.6
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(out), times, 0)
}
