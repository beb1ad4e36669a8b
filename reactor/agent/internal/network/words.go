package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// plan is a network configuration. The zero plan has no interfaces.
type plan struct {
	links    []link
	dns      []string
	search   []string
	hostname string
	bad      failures // the words that cannot be taken
}

// link is the wanted state of an interface.
type link struct {
	selector string // its name, its MAC address, or "" for the first one
	items    []item
	mac      mac // zero to leave it
	mtu      int // 0 to leave it
	down     bool
}

// maxLinks is the most interfaces of a configuration.
const maxLinks = 16

// failures says what could not be done.
type failures struct {
	count int
	errno unix.Errno // of the first
	text  string     // of all, with semicolons between
}

func (f *failures) add(errno unix.Errno, text string) {
	if f.count == 0 {
		f.errno = errno
	} else {
		f.text += "; "
	}
	f.count++
	f.text += text
}

// error returns an error that says so; nil if everything was done.
func (f *failures) error() error {
	if f.count == 0 {
		return nil
	}
	return &sys.WordedError{Errno: f.errno, Words: f.text}
}

// parse takes a word of a configuration.
func (p *plan) parse(word string) {
	name, value, _ := sys.Cut(word, '=')
	reason := "want --net=, --dns=, --search= or --hostname= with a value"
	switch {
	case value == "":
	case name == "--net":
		reason = p.net(value, false)
	case name == "--dns" || name == "--search":
		reason = p.names(name == "--dns", value)
	case name == "--hostname" && p.hostname != "":
		reason = "second host name"
	case name == "--hostname":
		if reason = notHostname; IsHostname(value) {
			p.hostname, reason = value, ""
		}
	}
	if reason != "" {
		p.bad.add(unix.EINVAL, word+": "+reason)
	}
}

const notHostname = "not a host name of 1 to 64 letters, digits, dots and hyphens"

// names takes name servers or search domains, up to the first that cannot be taken.
func (p *plan) names(dns bool, values string) (reason string) {
	list := &p.search
	if dns {
		list = &p.dns
	}
	for more := true; more; {
		var value string
		value, values, more = sys.Cut(values, ',')
		var a addr
		if dns && (!a.parse(value) || a.unusable()) {
			return value + ": not an address of a name server"
		}
		if !dns && !isHostname(value, 253) {
			return value + ": not a domain"
		}
		*list = append(*list, value)
	}
	return ""
}

// net takes the value of --net. first allows an empty selector.
func (p *plan) net(value string, first bool) (reason string) {
	var l link
	var m mac
	fields, more := "", false
	l.selector, fields, more = sys.Cut(value, ',')
	if !m.parse(l.selector) && !isInterface(l.selector) && !(first && l.selector == "") {
		return "want the name of an interface but lo, or a MAC address"
	}
	for i := range p.links {
		if p.links[i].selector == l.selector {
			return "second configuration of " + l.selector
		}
	}
	for more {
		var field string
		field, fields, more = sys.Cut(fields, ',')
		if want := l.field(field); want != "" {
			return field + ": want " + want
		}
	}
	if len(p.links) == maxLinks {
		return "too many interfaces (limit 16)"
	}
	p.links = append(p.links, l)
	return ""
}

// field takes a field of --net, or returns what would make sense instead.
func (l *link) field(field string) (want string) {
	name, value, equals := sys.Cut(field, '=')
	var it item
	ok := false
	switch name {
	case "up", "down":
		if want = name; !equals {
			l.down = name == "down"
			return ""
		}
		return want
	case "mac":
		if l.mac.parse(value) && l.mac != (mac{}) && l.mac[0]&1 == 0 {
			return ""
		}
		return "the MAC address of one interface, as mac=02:fc:00:00:00:01"
	case "mtu":
		if l.mtu = decimal(value, 65535); l.mtu >= 68 {
			return ""
		}
		return "mtu= of 68 to 65535"
	case "addr":
		want = "an address, as addr=10.0.2.15/24 or addr=fd00::2/64"
		ok = it.to.parsePrefix(value) && !it.to.unusable()
	case "gw":
		want = "an address, as gw=10.0.2.2"
		it.route = true
		ok = it.via.parse(value) && !it.via.unusable()
		it.to.n = it.via.n
	case "route":
		want = "a network, as route=10.1.0.0/16@10.0.2.2"
		it.route = true
		to, gateway, gated := sys.Cut(value, '@')
		ok = it.to.parsePrefix(to) &&
			(!gated || it.via.parse(gateway) && !it.via.unusable() && it.via.n == it.to.n)
		it.to.fill(false)
	default:
		want = "addr=, gw=, route=, mac=, mtu=, up or down"
	}
	if !ok {
		return want
	}
	l.items = append(l.items, it)
	return ""
}

// isInterface reports whether the kernel takes the name (dev_valid_name), we can print it, and it
// is not lo, which is always configured.
func isInterface(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '/' || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) < unix.IFNAMSIZ && s != "." && s != ".." && s != "lo"
}

// IsHostname reports whether s can be the machine's name.
func IsHostname(s string) bool { return isHostname(s, 64) }

// isHostname reports whether s is a name of letters, digits, dots, hyphens and underscores.
func isHostname(s string, limit int) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20)-'a' > 'z'-'a' && c-'0' > 9 && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}
