//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// leaving is a mount that Settle takes down, as the settling child needs it.
type leaving struct {
	name string
	// path is the target, and disk the device of an ext4 to be checked at its last mount. Both end
	// with a NUL; disk may be nil.
	path, disk *byte
	device     uint64
	// block says that the file system lies on a block device other than the root's. If it is busy,
	// it is made read-only.
	block bool
	kind  string
}

// ownMounts are those of Up, which stay.
var ownMounts = []string{"/", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc", "/sys", "/sys/fs/cgroup", "/run"}

// leavings returns the mounts beside those of Up, the last first: the volumes, and what the guest
// has mounted itself. Only process 1 of a machine that is up has any.
func (r *Root) leavings() []leaving {
	if !r.isUp || unix.Getpid() != 1 {
		return nil
	}
	return r.mounts()
}

// device returns the number of the overlay disk, or 0. Settle cares for it later than for others.
func (r *Root) device() uint64 {
	var st unix.Stat_t
	if r.upper < 0 || unix.Fstat(r.upper, &st) != nil {
		return 0
	}
	return st.Dev
}

// mounts returns the mounts of the namespace beside those of Up, the last first.
func (r *Root) mounts() (found []leaving) {
	text := readAll("/proc/self/mountinfo")
	own := r.device()
	for end := len(text); end > 0; {
		begin := end - 1
		for begin > 0 && text[begin-1] != '\n' {
			begin--
		}
		l, ok := parseMount(string(text[begin:end]), own)
		end = begin
		if !ok {
			continue
		}
		for i := range found {
			if found[i].device == l.device {
				found[i].disk = nil // it is mounted at this place too
			}
		}
		found = append(found, l)
	}
	return found
}

// parseMount parses a line of mountinfo. ok is false for a mount of Up.
func parseMount(line string, own uint64) (l leaving, ok bool) {
	m, ok := parseMountLine(line)
	if !ok {
		return l, false
	}
	l = leaving{name: m.name, kind: m.kind, device: m.device}
	l.block = unix.Major(l.device) != 0 && l.device != own
	for _, place := range ownMounts {
		if l.name == place && (!l.block || place == "/") {
			return l, false
		}
	}
	l.path = terminated(l.name)
	var st unix.Stat_t
	if l.block && l.kind == "ext4" && unix.Stat(m.source, &st) == nil && st.Rdev == l.device {
		l.disk = terminated(m.source)
	}
	return l, true
}

// mountLine has what a line of mountinfo says.
type mountLine struct {
	device             uint64
	name, kind, source string
}

// parseMountLine parses a line of mountinfo (proc_pid_mountinfo(5)):
//
//	36 35 254:32 / /data rw,noatime shared:1 - ext4 /dev/vdc rw
func parseMountLine(line string) (m mountLine, ok bool) {
	var fields [5]string
	for i := range fields {
		fields[i], line, ok = cutAt(line, ' ')
		if !ok {
			return m, false
		}
	}
	for optional := ""; optional != "-"; {
		if optional, line, ok = cutAt(line, ' '); !ok {
			return m, false
		}
	}
	m.kind, line, _ = cutAt(line, ' ')
	m.source, _, _ = cutAt(line, ' ')
	m.source, m.name = unescape(m.source), unescape(fields[4])
	m.device, ok = parseNumber([]byte(fields[2]))
	return m, ok
}

// terminated returns s as system calls take it.
func terminated(s string) *byte { return &append([]byte(s), 0)[0] }

// unescape replaces the octal escapes of mountinfo, such as \040 for a blank.
func unescape(s string) string {
	b, n := []byte(s), 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+3 < len(b) {
			c = (b[i+1]-'0')<<6 | (b[i+2]-'0')<<3 | (b[i+3] - '0')
			i += 3
		}
		b[n] = c
		n++
	}
	return string(b[:n])
}

// readAll returns the content of a file of proc, which has no size, or what could be read of it.
func readAll(path string) (text []byte) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	buf := make([]byte, 16<<10)
	for n := 1; n > 0; {
		n, err = unix.Read(fd, buf)
		if err == unix.EINTR {
			n = 1
		} else if err == nil {
			text = append(text, buf[:n]...)
		}
	}
	unix.Close(fd)
	return text
}

// cutAt cuts s at the first c.
func cutAt(s string, c byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == c {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
