//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// planTuning returns the steps that load modules and set what the configuration says of the kernel
// and the time zone. Modules come first, because they bring settings and file systems.
func planTuning(cfg *Config) (plan []Step) {
	for _, name := range cfg.Modules {
		plan = add(plan, "module "+name, false, module(name))
	}
	for _, s := range cfg.Sysctls {
		plan = add(plan, "sysctl "+s[0], false, sysctl(s))
	}
	if cfg.Timezone != "" {
		plan = add(plan, "time zone", false, timezone(cfg.Timezone))
	}
	return plan
}

// sysctl is a setting of the kernel: the name, with dots, and the value.
type sysctl [2]string

// String does not show the value, which takes no part in what a boot can fail of.
func (s sysctl) String() string { return "set " + s[0] }

func (s sysctl) run(*machine) error {
	path := sysctlPath(s[0])
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		hint := ""
		if err == unix.ENOENT {
			hint = "the kernel has no such setting, or it needs a module"
		}
		return fault("open", path, "", err, hint)
	}
	_, err = unix.Write(fd, []byte(s[1]))
	unix.Close(fd)
	if err != nil {
		return fault("write "+s[1], path, "", err, "")
	}
	return nil
}

// sysctlPath returns the file of a setting. As in sysctl(8), the first of . and / in the name
// separates, and the other is part of a name: net.ipv4.conf.eth0/100.forwarding.
func sysctlPath(name string) string {
	path := []byte("/proc/sys/" + name)
	text := path[len("/proc/sys/"):]
	for _, c := range text {
		if c == '/' {
			return string(path)
		}
		if c == '.' {
			break
		}
	}
	for i, c := range text {
		switch c {
		case '.':
			text[i] = '/'
		case '/':
			text[i] = '.'
		}
	}
	return string(path)
}

// setSysctl adds a setting, or replaces that of the same name.
func setSysctl(list *[][2]string, v string) error {
	name, value, given := cut(v)
	name = trim(name)
	if !given || !isSysctl(name) {
		return valueError("not NAME=VALUE, such as net.core.somaxconn=1024")
	}
	for i := range *list {
		if (*list)[i][0] == name {
			(*list)[i][1] = value
			return nil
		}
	}
	*list = append(*list, [2]string{name, value})
	return nil
}

// isSysctl reports whether a name leads to a file below /proc/sys.
func isSysctl(name string) bool {
	last := byte('/')
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c == 0x7f || (c == '.' || c == '/') && (last == '.' || last == '/') {
			return false
		}
		last = c
	}
	return last != '.' && last != '/'
}

// timezone is a zone of the tz database.
type timezone string

const zones = "/usr/share/zoneinfo/"

func (z timezone) String() string { return "set /etc/localtime to " + string(z) }

// run makes /etc/localtime a link to the zone, as tzset(3) and systemd expect it. In an image
// without zones, programs get the zone as TZ.
func (z timezone) run(m *machine) error {
	var st unix.Stat_t
	if unix.Stat(zones+string(z), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		m.root.zone = string(z)
		return nil //nolint:nilerr // an image without zones is no error
	}
	const path, fresh = "/etc/localtime", "/etc/localtime.new"
	unix.Unlink(fresh)
	if err := unix.Symlink(zones+string(z), fresh); err != nil {
		return fault("link", path, "", err, "")
	}
	if err := unix.Rename(fresh, path); err != nil {
		unix.Unlink(fresh)
		return fault("rename", fresh, path, err, "")
	}
	if exists("/etc/timezone") {
		return rewrite("/etc/timezone", string(z)+"\n") // Debian has the name there
	}
	return nil
}

// setTimezone accepts the names of zones, and what POSIX has for TZ.
func setTimezone(to *string, v string) error {
	ok := v != "" && v[0] != '/'
	for i := range len(v) {
		c := v[i]
		plain := isNameByte(c) || c == '/' || c == '_' || c == '+' || c == ',' || c == ':' || c == '<' || c == '>'
		if !plain || c == '.' && i > 0 && v[i-1] == '.' {
			ok = false
		}
	}
	if !ok {
		return valueError("not a time zone such as Europe/Berlin")
	}
	*to = v
	return nil
}

// Zone returns what TZ is to be for programs, or "" if the system has the zone.
func (r *Root) Zone() string { return r.zone }
