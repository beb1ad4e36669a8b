package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxFile is the longest file that is read, in bytes. A longer one is left alone.
	maxFile = 16 << 10
	// mark begins a resolv.conf of ours. Another one is left alone while no word names a server.
	mark = "# set by the machine's network configuration\n"
	// ownAddress is that of the machine's name without a network, as package sysinit writes it.
	ownAddress = "127.0.1.1"
)

// files writes the host name, /etc/resolv.conf and /etc/hosts.
func (s *Service) files(p *plan, t *setting) {
	old := nodename()
	if p.hostname != "" && p.hostname != old {
		t.check("sethostname", p.hostname, sys.ErrnoOf(unix.Sethostname([]byte(p.hostname))))
	}
	s.resolv(p, t)
	s.hosts(p, t, old)
}

func nodename() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Nodename[:])
}

// Rename sets the host name, and gives the machine's entry in /etc/hosts that name. The error wraps
// the first errno.
func (s *Service) Rename(name string) error {
	if s.Disk.Held() {
		return files.ErrFrozen
	}
	s.Garbage.Collect(requestGarbage)
	var t setting
	old := nodename()
	t.check("sethostname", name, sys.ErrnoOf(unix.Sethostname([]byte(name))))
	text, errno := read(s.etc + "/hosts")
	if errno != unix.ENOENT {
		t.check("read", s.etc+"/hosts", errno)
	}
	made := ""
	for rest := text; rest != ""; {
		var line string
		line, rest, _ = sys.Cut(rest, '\n')
		if isOwn(line, old, name) {
			address, _ := firstWord(line)
			made += ownEntry(address, name)
		} else {
			made += line + "\n"
		}
	}
	if made != text && old != name && old != "localhost" {
		t.replace(s.etc+"/hosts", made)
	}
	if t.count > 0 {
		return &sys.WordedError{Errno: t.errno, Words: t.text}
	}
	return nil
}

// resolv writes resolv.conf. Without a server or a domain one of ours is emptied.
func (s *Service) resolv(p *plan, t *setting) {
	text := mark
	for _, server := range p.dns {
		text += "nameserver " + server + "\n"
	}
	separator := "search "
	for _, domain := range p.search {
		text += separator + domain
		separator = " "
	}
	if separator == " " {
		text += "\n"
	}
	path := s.etc + "/resolv.conf"
	old, _ := read(path)
	if text != old && (text != mark || sys.Clip(old, len(mark)) == mark) {
		t.replace(path, text)
	}
}

// hosts gives the machine's own entry its address: the first one configured, or 127.0.1.1. old is
// the name that the machine had. An entry of localhost is never changed.
func (s *Service) hosts(p *plan, t *setting, old string) {
	path, name, address := s.etc+"/hosts", nodename(), ownAddress
	text, errno := read(path)
	if errno == unix.ENOENT {
		errno = 0
	}
	if t.check("read", path, errno); errno != 0 || name == "localhost" {
		return
	}
	for i := range p.links {
		for j := range p.links[i].items {
			if it := &p.links[i].items[j]; !it.route && address == ownAddress {
				address = it.to.text()
			}
		}
	}
	entry := ownEntry(address, name)
	made, placed := "", false
	for rest := text; rest != ""; {
		var line string
		line, rest, _ = sys.Cut(rest, '\n')
		if !isOwn(line, old, name) {
			made += line + "\n"
		} else if !placed { // it replaces the first one, and the others go
			made += entry
			placed = true
		}
	}
	if !placed && address != ownAddress { // an image that has no entry does without
		made += entry
		placed = true
	}
	if placed && made != text {
		t.replace(path, made)
	}
}

// ownEntry returns the line of hosts for the machine.
func ownEntry(address, name string) string {
	entry := address + "\t" + name
	if short, _, dotted := sys.Cut(name, '.'); dotted && short != "" && short != "localhost" {
		entry += " " + short
	}
	return entry + "\n"
}

// isOwn reports whether a line of hosts is the machine's own: its first name is one of the
// machine's.
func isOwn(line, old, name string) bool {
	address, rest := firstWord(line)
	first, _ := firstWord(rest)
	return (first == name || first == old) && first != "localhost" && address != "127.0.0.1" && address != "::1"
}

// read reads a regular file.
func read(path string) (string, unix.Errno) {
	fd, err := files.OpenContent(path, unix.O_RDONLY|unix.O_CLOEXEC, false)
	if err != nil {
		return "", sys.ErrnoOf(err)
	}
	b := make([]byte, maxFile+1)
	n, err := unix.Pread(fd, b, 0) // a regular file's read is whole
	unix.Close(fd)
	if n > maxFile {
		err = unix.EFBIG
	}
	return string(b[:max(n, 0)]), sys.ErrnoOf(err)
}

// replace gives a file a new content in one step. A symbolic link, as systemd's images have for
// resolv.conf, is replaced. A mount point, which cannot be replaced, is written in place.
func (t *setting) replace(path, text string) {
	temporary := path + ".wick"
	unix.Unlink(temporary)
	errno := write(temporary, unix.O_EXCL, text)
	if errno == 0 {
		errno = sys.ErrnoOf(unix.Rename(temporary, path))
	}
	if errno != 0 {
		unix.Unlink(temporary)
	}
	if errno == unix.EBUSY {
		errno = write(path, unix.O_TRUNC|unix.O_NONBLOCK, text)
	}
	t.check("write", path, errno)
}

func write(path string, flags int, text string) unix.Errno {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0o644)
	if err != nil {
		return sys.ErrnoOf(err)
	}
	unix.Fchmod(fd, 0o644) // whatever the umask
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC // the only reason why a regular file takes less
	}
	unix.Close(fd)
	return sys.ErrnoOf(err)
}
