package agent

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
)

// Options are the command line of an agent, as text. Their zero value is the default.
type Options struct {
	// UnixSocket is the path of --unix-socket, empty if there was none.
	UnixSocket string
	dial       string
	listen     string
	level      Level
	leveled    bool
	limits     Limits
}

// Usage describes the options: lines for a help text, a line feed at the end of each.
func Usage() string {
	text := `  --unix-socket PATH      meet the host at PATH and not over vsock: connect if it
                          listens there, listen otherwise
  --vsock-dial CID:PORT   connect to the host (default 2:1000; off: do not)
  --vsock-listen PORT     listen for the host (default 1000; off: do not)
  --log-level LEVEL       error, warn, info or debug (default info)
`
	for i := range LimitOptions {
		o := &LimitOptions[i]
		word := "  " + o.Name + " " + o.Value + "                    "
		text += word[:26] + o.Help + "\n"
	}
	return text
}

// Set takes one option, "--name", with its value. known is false for a name that is none of the agent's. What is wrong changes nothing.
func (o *Options) Set(name, value string) (known bool, err error) {
	switch name {
	case "--unix-socket":
		if value == "" {
			return true, errors.New("--unix-socket: path is empty")
		}
		o.UnixSocket = value
	case "--vsock-dial":
		if _, _, err = parseDial(value); err == nil {
			o.dial = value
		}
	case "--vsock-listen":
		if _, err = parseListen(value); err == nil {
			o.listen = value
		}
	case "--log-level":
		level, ok := log.ParseLevel(value)
		if !ok {
			return true, errors.New("--log-level: unknown level " + sys.Quote(value))
		}
		o.level, o.leveled = level, true
	default:
		for i := range LimitOptions {
			if l := &LimitOptions[i]; l.Name == name {
				n, ok := sys.ParseNumber(value)
				if !ok || n == 0 || n > maxLimit {
					return true, errors.New(name + ": " + sys.Quote(value) + " is not a number from 1 to " + sys.Num(maxLimit))
				}
				*l.field(&o.limits) = n
				return true, nil
			}
		}
		return false, nil
	}
	return true, err
}

// Known reports whether the name is one of the agent's options; each has a value.
func (o *Options) Known(name string) bool {
	known, _ := new(Options).Set(name, "")
	return known
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
	c := Config{UnixSocket: o.UnixSocket, Log: NewLog(2, level), Limits: o.limits}
	c.DialCID, c.DialPort, _ = parseDial(dial)
	c.ListenPort, _ = parseListen(listen)
	return c
}

// parseDial reads CID:PORT or off.
func parseDial(s string) (cid, port uint32, err error) {
	if s == "off" {
		return 0, 0, nil
	}
	c, p, _ := sys.Cut(s, ':')
	cid, ok := sys.ParseNumber(c)
	port, ok2 := sys.ParseNumber(p)
	if !ok || !ok2 || cid == unix.VMADDR_CID_ANY || port == 0 || port == unix.VMADDR_PORT_ANY {
		return 0, 0, errors.New("--vsock-dial: " + sys.Quote(s) + " is not CID:PORT or off")
	}
	return cid, port, nil
}

// parseListen reads a port, 1 to 4294967294, or off.
func parseListen(s string) (uint32, error) {
	if s == "off" {
		return 0, nil
	}
	n, ok := sys.ParseNumber(s)
	if !ok || n == 0 || n == unix.VMADDR_PORT_ANY {
		return 0, errors.New("--vsock-listen: " + sys.Quote(s) + " is not a port or off")
	}
	return n, nil
}
