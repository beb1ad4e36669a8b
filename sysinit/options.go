//go:build linux

package sysinit

import (
	"strconv"
	"time"
)

// Option is an option of init: a word after "--" on the kernel command line. Another package that
// takes options from there passes its own table to the same Parse.
type Option struct {
	// Name is the word itself, "--base". One that ends with a dot is a prefix, "--service.": Set
	// gets what follows it in "--service.NAME" or "--service.NAME=value".
	Name string
	// Value names the value in a usage text, "DEV". An option without one is a switch: Set gets yes
	// or no, and yes if it stands alone.
	Value string
	// Help is one line for a usage text, lower case.
	Help string
	// Set stores the value. Its error says only what is wrong with the value; Parse adds the
	// option.
	Set func(value string) error
	// Many returns the name that a value sets, for an option that may set several: the sources win
	// over each other for each name. It is nil for an option that is set once. If the
	// option is a prefix, it returns the whole name without "--".
	Many func(value string) (name string)
	// Private says that the value may have a secret, so that errors do not show it.
	Private bool
}

// setting returns the name under which a value is recorded: "--env", or "--env.NAME" if it is one
// of many.
func (o *Option) setting(value string) string {
	switch {
	case o.prefix():
		return "--" + o.Many(value)
	case o.Many != nil:
		return o.Name + "." + o.Many(value)
	}
	return o.Name
}

// prefix reports whether the option is a prefix.
func (o *Option) prefix() bool { return o.Name[len(o.Name)-1] == '.' }

// join returns what Set gets. given reports whether there is a value.
func (o *Option) join(name, value string, given bool) string {
	switch {
	case !o.prefix():
		return value
	case !given:
		return name[len(o.Name):]
	}
	return name[len(o.Name):] + "=" + value
}

// shown returns what an error may show of a value.
func (o *Option) shown(value string) string {
	if o.Private {
		return ""
	}
	return value
}

// OptionError reports an invalid option. It prints as "--wait x: not a number of seconds from 0 to
// 3600".
type OptionError struct {
	// Where is the text and line of the option; "" for the kernel's command line.
	Where string
	// Line is the number of the line in a text, from 1.
	Line                  int
	Option, Value, Reason string
	// Early says that the option is used to build the root.
	Early bool
}

func (e *OptionError) Error() string {
	s := e.Option
	if e.Value != "" {
		s += " " + e.Value
	}
	if e.Where != "" {
		s = e.Where + ": " + s
	}
	return s + ": " + e.Reason
}

// Parse parses init's arguments (os.Args without the first) with the options of all tables. It
// accepts "--name value" and "--name=value", and the last of several wins. It goes on after an
// error and returns the first one. A later option may be the one by which the caller reports the
// error to the host.
//
// Before the words after "--", the kernel also passes words that it does not know ("single",
// "splash"). Parse returns every word that does not begin with "--" as ignored. The kernel takes 32
// words in all and panics on more (CONFIG_INIT_ENV_ARG_LIMIT). "--name=value" is one word and
// "--name value" two.
func Parse(args []string, tables ...[]Option) (ignored []string, err error) {
	fail := func(option, value, reason string) {
		if err == nil {
			err = &OptionError{Option: option, Value: value, Reason: reason}
		}
	}
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[:2] != "--" {
			ignored = append(ignored, word)
			continue
		}
		if word == "--" {
			continue
		}
		name, value, given := cut(word)
		option := lookup(name, tables)
		switch {
		case option == nil:
			fail(name, "", "unknown option")
			continue
		case option.prefix():
		case option.Value == "" && !given:
			value = on
		case !given:
			// A value never begins with "--", so "--base --overlay /dev/vdb" lacks the value of
			// --base.
			if i+1 == len(args) || len(args[i+1]) >= 2 && args[i+1][:2] == "--" {
				if option.Set("") != nil { // it can do without
					fail(name, "", "needs a value: "+option.Value)
				}
				continue
			}
			i++
			value = args[i]
		}
		if bad := option.Set(option.join(name, value, given)); bad != nil {
			fail(name, option.shown(value), bad.Error())
		}
	}
	return ignored, err
}

func cut(word string) (name, value string, given bool) {
	for i := range len(word) {
		if word[i] == '=' {
			return word[:i], word[i+1:], true
		}
	}
	return word, "", false
}

func lookup(name string, tables [][]Option) *Option {
	for _, table := range tables {
		for i := range table {
			o := &table[i]
			if o.Name == name || o.prefix() && len(name) > len(o.Name) && name[:len(o.Name)] == o.Name {
				return o
			}
		}
	}
	return nil
}

// on is the value of a switch that stands alone.
const on = "yes"

// valueError says what is wrong with a value.
type valueError string

func (e valueError) Error() string { return string(e) }

// Options returns the table of options that set c.
func (c *Config) Options() []Option {
	return []Option{
		{Name: "--base", Value: "DEV[,DEV]",
			Help: "layers of the root image, lowest first (default /dev/vda)",
			Set:  func(v string) error { return setBase(&c.Base, v) }},
		{Name: "--root", Value: "overlay|rw",
			Help: "rw: the base is an ext4 and the root itself (default overlay)",
			Set: func(v string) error {
				if v != "rw" && v != "overlay" {
					return valueError("not overlay or rw")
				}
				c.WritableRoot = v == "rw"
				return nil
			}},
		{Name: "--overlay", Value: "DEV|tmpfs",
			Help: "block device for what the guest writes, an ext4; or memory (default /dev/vdb)",
			Set: func(v string) error {
				if v == Tmpfs {
					c.Overlay = v
					return nil
				}
				return setDevice(&c.Overlay, v, "not the absolute path of a device, nor "+Tmpfs)
			}},
		{Name: "--config", Value: "DEV",
			Help: "block device with more options, a line each, up to the first NUL",
			Set: func(v string) error {
				return setDevice(&c.Drive, v, "not the absolute path of a device")
			}},
		{Name: "--hostname", Value: "NAME",
			Help: "name of the machine (default that of /etc/hostname, or localhost)",
			Set: func(v string) error {
				return setHostname(&c.Hostname, v)
			}},
		{Name: "--wait", Value: "SECONDS",
			Help: "how long a device may take to appear (default 5)",
			Set: func(v string) error {
				n, ok := parseUint(v, 10, 3600)
				if !ok {
					return valueError("not a number of seconds from 0 to 3600")
				}
				c.Wait = time.Duration(n) * time.Second
				return nil
			}},
		{Name: "--tmpfs-size", Value: "SIZE",
			Help: "limit of an overlay in memory, such as 64m (default 50%)",
			Set: func(v string) error {
				return setSize(&c.TmpfsSize, v)
			}},
		{Name: "--run-size", Value: "SIZE",
			Help: "limit of /run (default 10%)",
			Set:  func(v string) error { return setSize(&c.RunSize, v) }},
		{Name: "--shm-size", Value: "SIZE",
			Help: "limit of /dev/shm (default 25%)",
			Set:  func(v string) error { return setSize(&c.ShmSize, v) }},
	}
}

// MountOptions returns the table of options that set what Root.Mount does. An image can set them
// too, because its root is mounted by then.
func (c *Config) MountOptions() []Option {
	return []Option{
		{
			Name: "--mount", Value: "VOLUME",
			Help: "one more file system: SOURCE:TARGET:TYPE[:OPTIONS] (volumes.md)",
			Set:  func(v string) error { return setVolume(&c.Volumes, v) }, Many: volumeTarget,
		},
		{
			Name: "--swap", Value: "DEV|zram:SIZE",
			Help: "swap to a device that holds swap, or to compressed memory (volumes.md)",
			Set:  func(v string) error { return setSwap(&c.Swaps, v) }, Many: swapSource,
		},
		{
			Name: "--grow", Help: "resize the ext4 of the overlay, or of the root, to its device",
			Set: func(v string) error {
				if v != on && v != "no" {
					return valueError("not yes or no")
				}
				c.Grow = v == on
				return nil
			},
		},
		{
			Name: "--modules", Value: "NAME[,NAME]",
			Help: "kernel modules to load, with those that they depend on",
			Set:  func(v string) error { return setModules(&c.Modules, v) },
		},
		{
			Name: "--sysctl", Value: "NAME=VALUE",
			Help: "a setting of the kernel, such as net.core.somaxconn=1024; may be repeated",
			Set:  func(v string) error { return setSysctl(&c.Sysctls, v) },
			Many: func(v string) string { name, _, _ := cut(v); return trim(name) },
		},
		{
			Name: "--timezone", Value: "ZONE",
			Help: "time zone of the machine, such as Europe/Berlin (default that of the image)",
			Set:  func(v string) error { return setTimezone(&c.Timezone, v) },
		},
	}
}

func setDevice(to *string, v, reason string) error {
	if len(v) < 2 || v[0] != '/' {
		return valueError(reason)
	}
	*to = v
	return nil
}

// setBase accepts a list of different devices.
func setBase(to *string, v string) error {
	names := devices(v)
	if len(names) > maxLayers {
		return valueError("more than " + strconv.Itoa(maxLayers) + " devices")
	}
	for i, name := range names {
		var device string
		if err := setDevice(&device, name, "not the absolute path of a device"); err != nil {
			return err
		}
		for _, other := range names[:i] {
			if other == name {
				return valueError(name + " is given twice")
			}
		}
	}
	*to = v
	return nil
}

// setHostname accepts the names of RFC 1123 that fit into the kernel's limit.
func setHostname(to *string, v string) error {
	if v == "" || len(v) > longestName {
		return valueError("not a host name of 1 to 64 letters, digits, dots and hyphens")
	}
	for i := range len(v) {
		if !isNameByte(v[i]) {
			return valueError("not a host name of 1 to 64 letters, digits, dots and hyphens")
		}
	}
	*to = v
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.'
}

// setSize rejects characters that could add a mount option, because the value goes into tmpfs's
// "size=".
func setSize(to *string, v string) error {
	digits := v
	if n := len(v); n > 0 {
		switch v[n-1] {
		case 'k', 'm', 'g', 'K', 'M', 'G', '%':
			digits = v[:n-1]
		}
	}
	n, _ := parseUint(digits, 10, 1<<62-1)
	if n == 0 || v[len(v)-1] == '%' && n > 100 {
		return valueError("not a size such as 1048576, 64m or 10%")
	}
	*to = v
	return nil
}
