package agent

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Options are the command line of an agent, as text. Their zero value is the default.
type Options struct {
	UnixSocket string
	dial       string
	listen     string
	level      Level
	leveled    bool
}

// Usage describes the options.
const Usage = `  --unix-socket PATH      meet the host at PATH and not over vsock: connect if it
                          listens there, listen otherwise
  --vsock-dial CID:PORT   connect to the host (default 2:1000; off: do not)
  --vsock-listen PORT     listen for the host (default 1000; off: do not)
  --log-level LEVEL       error, warn, info or debug (default info)
`

// Set takes one option, "--name", with its value. known is false for a name that is none of the agent's.
func (o *Options) Set(name, value string) (known bool, err error) {
	switch name {
	case "--unix-socket":
		if o.UnixSocket = value; value == "" {
			err = errors.New("--unix-socket: path is empty")
		}
	case "--vsock-dial":
		o.dial = value
		_, _, err = parseDial(value)
	case "--vsock-listen":
		o.listen = value
		_, err = parsePort("--vsock-listen", value)
	case "--log-level":
		var ok bool
		if o.level, ok = ParseLevel(value); !ok {
			err = errors.New("--log-level: unknown level " + quote(value))
		}
		o.leveled = true
	default:
		return false, nil
	}
	return true, err
}

// Known reports whether the name is one of the agent's options; each has a value.
func (o *Options) Known(name string) bool {
	switch name {
	case "--unix-socket", "--vsock-dial", "--vsock-listen", "--log-level":
		return true
	}
	return false
}

// Config is the configuration that the options describe. With a Unix socket the vsock ways are off unless they are asked for.
func (o *Options) Config() Config {
	dial, listen := o.dial, o.listen
	if dial == "" {
		dial = "2:1000"
		if o.UnixSocket != "" {
			dial = "off"
		}
	}
	if listen == "" {
		listen = "1000"
		if o.UnixSocket != "" {
			listen = "off"
		}
	}
	level := LevelInfo
	if o.leveled {
		level = o.level
	}
	c := Config{UnixSocket: o.UnixSocket, Log: NewLog(2, level)}
	c.DialCID, c.DialPort, _ = parseDial(dial)
	c.ListenPort, _ = parsePort("", listen)
	return c
}

// parseDial reads CID:PORT or off.
func parseDial(s string) (cid, port uint32, err error) {
	if s == "off" {
		return 0, 0, nil
	}
	c, p, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(c, 10, 32)
	if !ok || err != nil || n == unix.VMADDR_CID_ANY {
		return 0, 0, errors.New("--vsock-dial: " + quote(s) + " is not CID:PORT or off")
	}
	port, err = parsePort("--vsock-dial", p)
	return uint32(n), port, err
}

// parsePort reads a port, 1 to 4294967294, or off.
func parsePort(option, s string) (uint32, error) {
	if s == "off" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n == unix.VMADDR_PORT_ANY {
		return 0, errors.New(option + ": " + quote(s) + " is not a port or off")
	}
	return uint32(n), nil
}
