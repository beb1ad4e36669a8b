package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/etc"
	"wick/reactor/agent/internal/sys"
)

const (
	// mark begins a resolv.conf of ours. Another one is left alone while no word names a server.
	mark = "# set by the machine's network configuration\n"
	// ownAddress is that of the machine's name without a network, as package sysinit writes it.
	ownAddress = "127.0.1.1"
)

// files writes the host name, /etc/resolv.conf and /etc/hosts.
func (s *Service) files(p *plan, t *setting) {
	s.resolv(p, t)
	address := ownAddress
	for i := range p.links {
		for j := range p.links[i].items {
			if it := &p.links[i].items[j]; !it.route && address == ownAddress {
				address = it.to.text()
			}
		}
	}
	s.name(p.hostname, address, t)
}

// name sets the host name, unless it is empty, and the machine's own entry in /etc/hosts. An empty
// address leaves that of the entry.
func (s *Service) name(name, address string, t *setting) {
	old := nodename()
	if name != "" && name != old {
		t.check("sethostname", name, sys.ErrnoOf(unix.Sethostname([]byte(name))))
	}
	s.hosts(address, t, old)
}

func nodename() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Nodename[:])
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
	old, _ := etc.Read(path)
	if text != old && (text != mark || sys.Clip(old, len(mark)) == mark) {
		t.check("write", path, etc.Replace(path, text, 0o644))
	}
}

// hosts gives the machine's own entry its name and an address, unless that is empty. old is the
// name that the machine had. An entry of localhost is never changed.
func (s *Service) hosts(address string, t *setting, old string) {
	path, name := s.etc+"/hosts", nodename()
	text, errno := etc.Read(path)
	if errno == unix.ENOENT {
		errno = 0
	}
	if t.check("read", path, errno); errno != 0 || name == "localhost" {
		return
	}
	names := "\t" + name
	if short, _, dotted := sys.Cut(name, '.'); dotted && short != "" && short != "localhost" {
		names += " " + short
	}
	names += "\n"
	made, placed := "", false
	for rest := text; rest != ""; {
		var line string
		line, rest, _ = sys.Cut(rest, '\n')
		if !isOwn(line, old, name) {
			made += line + "\n"
		} else if !placed { // it replaces the first one, and the others go
			own := address
			if own == "" {
				own, _ = firstWord(line)
			}
			made += own + names
			placed = true
		}
	}
	if !placed && address != "" && address != ownAddress { // an image without an entry has none
		made += address + names
		placed = true
	}
	if placed && made != text {
		t.check("write", path, etc.Replace(path, made, 0o644))
	}
}

// isOwn reports whether a line of hosts is the machine's own: its first name is one of the
// machine's.
func isOwn(line, old, name string) bool {
	address, rest := firstWord(line)
	first, _ := firstWord(rest)
	return (first == name || first == old) && first != "localhost" && address != "127.0.0.1" && address != "::1"
}
