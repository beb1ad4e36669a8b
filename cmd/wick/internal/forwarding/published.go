package forwarding

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"wick/cmd/wick/internal/exit"
)

// ParsePublish parses a -p of wick run. It has the forms of wick forward, and docker's: ADDR::PORT
// is any free port at an address, and FIRST-LAST:FIRST-LAST is a range of ports.
func ParsePublish(s string) ([]Forward, error) {
	plain := s
	if head, ok := strings.CutSuffix(s, "/tcp"); ok && !strings.Contains(s, "unix:") {
		plain = head
	}
	if i := strings.LastIndex(plain, "::"); i >= 0 && isNumber(plain[i+2:]) && (!strings.HasPrefix(plain, "[") || strings.Contains(plain[:i], "]")) {
		plain = plain[:i] + ":0:" + plain[i+2:]
	}
	texts, err := portRange(plain)
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("publish %q: %w", s, err))
	}
	var forwards []Forward
	for _, text := range texts {
		fw, err := Parse(text, DefaultBind, false)
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, fw)
	}
	return forwards, nil
}

// portRange returns a text for each pair of ports, if s has ranges, and s alone otherwise.
func portRange(s string) ([]string, error) {
	i := strings.LastIndexByte(s, ':')
	first, last, ranged := bounds(s[i+1:])
	if !ranged {
		return []string{s}, nil
	}
	address, hostFirst, hostLast := "", first, last
	if i >= 0 {
		j := strings.LastIndexByte(s[:i], ':')
		address = s[:j+1]
		if hostFirst, hostLast, ranged = bounds(s[j+1 : i]); !ranged {
			return nil, errors.New("a range of ports needs a range of this host's")
		}
	}
	if last < first || last > 65535 || hostLast-hostFirst != last-first {
		return nil, errors.New("the ranges of ports are not of one length")
	}
	var all []string
	for n := 0; n <= last-first; n++ {
		all = append(all, fmt.Sprintf("%s%d:%d", address, hostFirst+n, first+n))
	}
	return all, nil
}

// bounds parses FIRST-LAST.
func bounds(s string) (first, last int, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok || !isNumber(a) || !isNumber(b) {
		return 0, 0, false
	}
	first, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0, false
	}
	last, err = strconv.Atoi(b)
	return first, last, err == nil
}

// Published returns an end of the guest as docker writes it, such as 80/tcp.
func (e End) Published() string {
	if host, port, err := net.SplitHostPort(e.Address); err == nil && e.Network == "tcp" && host == "localhost" {
		return port + "/tcp"
	}
	return e.String()
}
