package forwarding

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"wick/cmd/wick/internal/exit"
)

// An End is one end of a forward: a network and an address for net.Dial or net.Listen.
type End struct{ Network, Address string }

// String returns the end as a user writes it.
func (e End) String() string {
	if e.Network == "unix" {
		return "unix:" + e.Address
	}
	return e.Address
}

// DefaultBind is the address for ports of this machine. Other machines do not reach it.
const DefaultBind = "127.0.0.1"

// cutEnd parses the end at the beginning of s, and returns it with the rest of s. An end is PORT,
// HOST:PORT, [IPV6]:PORT, unix:PATH, a path, or @NAME. host is the host of a port alone.
func cutEnd(s, host string) (e End, rest string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "@") {
		path, rest, _ = strings.Cut(path, ":")
		if path == "" {
			return e, "", errors.New("path is missing")
		}
		return End{"unix", path}, rest, nil
	}
	first, rest, more := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		inner, behind, ok := strings.Cut(s[1:], "]")
		if !ok || !strings.HasPrefix(behind, ":") {
			return e, "", fmt.Errorf("%q is not an IPv6 address in brackets and a port", s)
		}
		first, rest, more = inner, behind[1:], true
	} else if isNumber(first) {
		port, err := checkPort(first)
		return End{"tcp", net.JoinHostPort(host, port)}, rest, err
	}
	if first == "" || !more {
		return e, "", fmt.Errorf("%q is not a port", s)
	}
	number, rest, _ := strings.Cut(rest, ":")
	port, err := checkPort(number)
	return End{"tcp", net.JoinHostPort(first, port)}, rest, err
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// checkPort returns a port without leading zeros, or an error if it is not a port.
func checkPort(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || !isNumber(s) {
		return "", fmt.Errorf("port %q is not a number of 0 to 65535", s)
	}
	return strconv.FormatUint(n, 10), nil
}

// A Forward is two ends. A connection to the first is connected to the second. A proxy has no
// second end, because each of its clients names one.
type Forward struct {
	Text     string
	From, To End
	Reverse  bool // From is in the guest
}

// Parse parses HOST:GUEST, or GUEST:HOST with reverse. A port alone is both ends.
func Parse(s, bind string, reverse bool) (Forward, error) {
	f := Forward{Text: s, Reverse: reverse}
	refuse := func(err error) (Forward, error) { return f, exit.Usage(fmt.Errorf("forward %q: %w", s, err)) }
	if strings.HasSuffix(s, "/udp") { // as docker has it; a path may end like that only after unix:
		if before, _, _ := strings.Cut(s, "/"); !strings.Contains(before, "unix:") {
			return refuse(errUDP)
		}
	}
	host := bind
	if reverse {
		host = "localhost"
	}
	var rest string
	var err error
	if f.From, rest, err = cutEnd(s, host); err != nil {
		return refuse(err)
	}
	if rest == "" && isNumber(s) {
		rest = s
	}
	if rest == "" {
		return refuse(errors.New("the other end is missing"))
	}
	if f.To, rest, err = cutEnd(rest, "localhost"); err != nil {
		return refuse(err)
	}
	if rest != "" {
		return refuse(fmt.Errorf("%q is left over", rest))
	}
	if _, port, _ := net.SplitHostPort(f.To.Address); f.To.Network == "tcp" && port == "0" {
		return refuse(errors.New("port 0 cannot be connected to"))
	}
	// This machine resolves the name of an end that it connects to, and the guest resolves none.
	ends := []End{f.From, f.To}
	if reverse {
		ends = ends[:1]
	}
	for _, e := range ends {
		if err := e.checkHost(); err != nil {
			return refuse(err)
		}
	}
	return f, nil
}

// ParseProxy parses where a SOCKS5 proxy listens.
func ParseProxy(s, bind string) (Forward, error) {
	at, rest, err := cutEnd(s, bind)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q is left over", rest)
	}
	if err != nil {
		return Forward{}, exit.Usage(fmt.Errorf("--socks %q: %w", s, err))
	}
	return Forward{Text: "socks " + s, From: at}, nil
}

// SamePort returns the forward of a port of this machine to the same port of the guest.
func SamePort(bind string, port uint16) Forward {
	number := strconv.Itoa(int(port))
	return Forward{Text: number, From: End{"tcp", net.JoinHostPort(bind, number)}, To: End{"tcp", "localhost:" + number}}
}

// checkHost returns an error for a TCP end whose host is a name other than localhost.
func (e End) checkHost() error {
	if e.Network != "tcp" {
		return nil
	}
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil || host == "localhost" || net.ParseIP(host) != nil {
		return err
	}
	if host == "udp" {
		return errUDP
	}
	return fmt.Errorf("%q is not an IP address or localhost", host)
}

var errUDP = errors.New("UDP is not forwarded, only TCP and Unix sockets are")

// ParseBind parses an address of this machine.
func ParseBind(s string) (string, error) {
	s = strings.Trim(s, "[]")
	if s != "localhost" && net.ParseIP(s) == nil {
		return "", exit.Usage(fmt.Errorf("--bind %q: want an IP address of this machine", s))
	}
	return s, nil
}

// ParseTarget parses an end of the guest: a HOST and a PORT, or one argument in another form.
func ParseTarget(args []string) (End, error) {
	if len(args) == 2 {
		port, err := checkPort(args[1])
		return End{"tcp", net.JoinHostPort(args[0], port)}, err
	}
	e, rest, err := cutEnd(args[0], "localhost")
	if err == nil && rest != "" {
		err = net.InvalidAddrError("nc: " + rest + " is left over")
	}
	return e, err
}
