package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// parseKernel takes the kernel's command line, and of it ip= or nfsaddrs=. A kernel without
// CONFIG_IP_PNP does not act on these words, and no kernel writes the name servers to resolv.conf.
// The documented form has ten fields (Documentation/admin-guide/nfs/nfsroot.rst):
//
//	ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>
//
// The server and the time server are not used. There is no DHCP client, so a form that asks for one
// is an error, unless the kernel is one. pnp is its /proc/net/pnp then, and has the name servers.
// The last ip= counts. Words behind "--" are init's.
func (p *plan) parseKernel(cmdline, pnp string) {
	last, value := "", ""
	for {
		var word string
		if word, cmdline = firstWord(cmdline); word == "" || word == "--" {
			break
		}
		if name, v, equals := sys.Cut(word, '='); equals && (name == "ip" || name == "nfsaddrs") {
			last, value = word, v
		}
	}
	reason := ""
	if last != "" {
		reason = p.kernel(value)
	}
	if reason == noDHCP && pnp != "" {
		for reason = ""; pnp != "" && reason == ""; {
			var line string
			line, pnp, _ = sys.Cut(pnp, '\n')
			if name, value, _ := sys.Cut(line, ' '); name == "nameserver" || name == "domain" {
				reason = p.names(name == "nameserver", value)
			}
		}
	}
	if reason != "" {
		p.bad.add(unix.EINVAL, last+": "+reason)
	}
}

const noDHCP = "no IPv4 address, and there is no DHCP client; want ip=CLIENT::GATEWAY:NETMASK::eth0:off"

// firstWord takes a word off a command line. Quotes hold blanks together, as for the kernel.
func firstWord(s string) (word, rest string) {
	var b []byte
	quoted := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted || c != ' ' && (c < '\t' || c > '\r'):
			b = append(b, c)
		case len(b) > 0:
			return string(b), s[i+1:]
		}
	}
	return string(b), ""
}

// isOff reports whether the field autoconf, or a word ip= alone, asks for no protocol. Every other
// value asks for one.
func isOff(s string) bool { return s == "off" || s == "none" || s == "static" }

// kernel takes the value of ip=. The good parts of it are kept.
func (p *plan) kernel(value string) (reason string) {
	if isOff(value) {
		return ""
	}
	var fields [10]string
	for i := range fields {
		fields[i], value, _ = sys.Cut(value, ':')
		if fields[i] == "0.0.0.0" {
			fields[i] = ""
		}
	}
	if value != "" {
		return "more than ten fields"
	}
	for i := 7; i < 9 && reason == ""; i++ {
		if fields[i] != "" {
			reason = p.names(true, fields[i])
		}
	}
	if name := fields[4]; isHostname(name, 64) {
		p.hostname = name
	} else if name != "" {
		reason = name + ": " + notHostname
	}
	var client addr
	net := fields[5]
	switch {
	case client.parse(fields[0]):
		if !client.mask(fields[3]) {
			return fields[3] + ": not a netmask"
		}
		net += ",addr=" + client.prefix()
		if fields[2] != "" {
			net += ",gw=" + fields[2]
		}
	case fields[0] != "" || !isOff(fields[6]):
		return noDHCP
	case net == "":
		return reason // it names no interface
	}
	if bad := p.net(net, true); bad != "" {
		reason = bad
	}
	return reason
}

// mask sets the bits to those of a netmask, in which all ones must come first. Without a netmask
// they are those of the address's class.
func (a *addr) mask(netmask string) bool {
	if netmask == "" {
		netmask = "255.255.255.0"
		if a.b[0] < 128 {
			netmask = "255.0.0.0"
		} else if a.b[0] < 192 {
			netmask = "255.255.0.0"
		}
	}
	var b [4]byte
	ok := quad(netmask, b[:])
	ones := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for a.bits = 0; ones>>31 == 1; ones <<= 1 {
		a.bits++
	}
	return ok && ones == 0
}
