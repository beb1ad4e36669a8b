package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/etc"
	"wick/reactor/agent/internal/network"
	"wick/reactor/agent/internal/sys"
)

// identity is what the words of an identity ask for.
type identity struct {
	network   network.Configuration
	networked bool // there are words of the network
	hostname  string
	machineID string // 32 digits, or etc.NewID
	timezone  string
	drop      bool
}

const (
	// maxZone is the longest name of a time zone, in bytes.
	maxZone = 64
)

// parseIdentity parses the words. An error wraps EINVAL.
func parseIdentity(words framing.NetworkWords) (*identity, error) {
	id := &identity{}
	for b := range words.All {
		word := string(b)
		switch name, _, _ := sys.Cut(word, '='); name {
		case "--net", "--dns", "--search":
			id.networked = true
			if err := id.network.Add(word); err != nil {
				return nil, err
			}
			continue
		}
		if reason := id.parse(word); reason != "" {
			return nil, &sys.WordedError{Errno: unix.EINVAL, Words: word + ": " + reason}
		}
	}
	return id, nil
}

// parse takes a word, or returns why it cannot.
func (id *identity) parse(word string) (reason string) {
	name, value, _ := sys.Cut(word, '=')
	var field *string
	ok := false
	switch name {
	case "--hostname":
		field, ok, reason = &id.hostname, network.IsHostname(value), "not a host name"
	case "--machine-id":
		value, ok = machineID(value)
		field, reason = &id.machineID, "want new or 32 hexadecimal digits"
	case "--timezone":
		field, ok, reason = &id.timezone, isZone(value), "not the name of a time zone"
	case "--drop-connections":
		if id.drop = value == "yes"; !id.drop && value != "no" {
			return "want yes or no"
		}
		return ""
	default:
		return "unknown word"
	}
	switch {
	case !ok:
		return reason
	case *field != "":
		return "comes twice"
	}
	*field = value
	return ""
}

// machineID returns an identifier in lower case. One of zeros is invalid.
func machineID(text string) (id string, ok bool) {
	if text == etc.NewID {
		return text, true
	}
	b := []byte(text)
	zeros := true
	for i, c := range b {
		if c-'A' < 6 {
			c += 'a' - 'A'
			b[i] = c
		}
		if c-'0' > 9 && c-'a' > 5 {
			return "", false
		}
		zeros = zeros && c == '0'
	}
	return string(b), len(b) == etc.IDDigits && !zeros
}

// isZone reports whether text is a path of letters, digits and a few signs, below a directory.
func isZone(text string) bool {
	for rest, more := text, true; more; {
		var part string
		part, rest, more = sys.Cut(rest, '/')
		for i := range len(part) {
			c := part[i]
			if (c|0x20)-'a' > 'z'-'a' && c-'0' > 9 && c != '_' && c != '+' && c != '-' {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return len(text) <= maxZone
}
