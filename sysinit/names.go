//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// A container runtime puts files into /etc of each container, and images lack them. docker export
// leaves /etc/hosts and /etc/hostname empty, and debootstrap makes no /etc/hosts. A machine has no
// runtime, so its init fills them. A file with an entry is never changed.
//
// /etc/resolv.conf is left as it is, because without a network there is no server to name. If the
// file is missing or empty, resolvers try a server on this machine, which refuses at once. A server
// that does not answer would cost each lookup its timeout. A missing /etc/hostname or
// /etc/machine-id stays missing as well, because the image or its user did without.

// longestName is the kernel's limit of a host name (__NEW_UTS_LEN).
const longestName = 64

// setName sets the host name. It takes the configured one, the image's, the kernel's (hostname= on
// its command line) or localhost, in that order. The kernel's default name, "(none)", is a syntax
// error to many programs.
func setName(m *machine) error {
	m.name = m.cfg.Hostname
	if m.name == "" {
		text, _ := readSmall("/etc/hostname")
		m.name = firstName(text)
	}
	var uts unix.Utsname
	if m.name == "" && unix.Uname(&uts) == nil {
		m.name = firstName([]byte(unix.ByteSliceToString(uts.Nodename[:])))
	}
	if m.name == "" {
		m.name = "localhost"
	}
	if err := unix.Sethostname([]byte(m.name)); err != nil {
		return fault("sethostname", m.name, "", err, "")
	}
	return nil
}

func nameText(cfg Config) string {
	if cfg.Hostname != "" {
		return cfg.Hostname
	}
	return "that of /etc/hostname, or localhost"
}

// firstName returns the first line of text that is neither blank nor a comment. It returns "" if
// there is no such line or if it is not a host name. Underscores are not valid in one, but are in
// use.
func firstName(text []byte) string {
	line := firstEntry(text)
	for len(line) > 0 && isSpace(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	if len(line) > longestName {
		return ""
	}
	for _, c := range line {
		if !isNameByte(c) && c != '_' {
			return ""
		}
	}
	return string(line)
}

// firstEntry returns the first line of text that is neither blank nor a comment, without leading
// space.
func firstEntry(text []byte) []byte {
	for len(text) > 0 {
		line := text
		for i, c := range text {
			if c == '\n' {
				line = text[:i]
				break
			}
		}
		text = text[min(len(line)+1, len(text)):]
		for len(line) > 0 && isSpace(line[0]) {
			line = line[1:]
		}
		if len(line) > 0 && line[0] != '#' {
			return line
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// hostsText returns the entries of /etc/hosts for a machine with that name, as Docker and Debian
// write them. A name with a domain also gets its short form, for hostname(1).
func hostsText(name string) string {
	text := "127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"ff00::0\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n"
	if name == "localhost" {
		return text
	}
	text += ownAddress + name
	for i := range len(name) {
		if name[i] == '.' && i > 0 && name[:i] != "localhost" {
			text += " " + name[:i]
			break
		}
	}
	return text + "\n"
}

// ownAddress begins the entry of the machine's own name. It is not 127.0.0.1, because that address
// resolves to localhost.
const ownAddress = "127.0.1.1\t"

// fillHosts writes /etc/hosts if it has no entry, after any comments in it. A file that an earlier
// boot filled and that is unchanged since is rewritten if the machine's name has changed.
func fillHosts(m *machine) error {
	const path = "/etc/hosts"
	old, err := readSmall(path)
	if err != nil && err != unix.ENOENT {
		return fault("read", path, "", err, "")
	}
	text := hostsText(m.name)
	switch {
	case len(old) == maxSmall, string(old) == text:
		return nil
	case firstEntry(old) == nil:
		if n := len(old); n > 0 && old[n-1] != '\n' {
			old = append(old, '\n')
		}
		text = string(old) + text
	case !filled(old):
		return nil
	}
	return rewrite(path, text)
}

// filled reports whether hostsText made a text. The last entry, the machine's own, may have another
// address: the agent writes the network's address there.
func filled(text []byte) bool {
	common := hostsText("localhost")
	if len(text) < len(common) || string(text[:len(common)]) != common {
		return false
	}
	own := text[len(common):]
	for i, c := range own {
		if c != '\t' {
			continue
		}
		name := own[i+1:]
		for j, c := range name {
			if isSpace(c) {
				return common+ownAddress+string(own[i+1:]) == hostsText(string(name[:j]))
			}
		}
	}
	return len(own) == 0
}

// fillHostname writes the machine's name into an /etc/hostname that exists without an entry.
func fillHostname(m *machine) error {
	const path = "/etc/hostname"
	old, err := readSmall(path)
	if err != nil || firstEntry(old) != nil {
		return nil //nolint:nilerr // a missing file stays missing
	}
	return rewrite(path, string(old)+m.name+"\n")
}

// fillMachineID makes an identifier if /etc/machine-id is empty or holds the word "uninitialized":
// machine-id(5).
func fillMachineID(*machine) error {
	const path = "/etc/machine-id"
	old, err := readSmall(path)
	if err != nil || len(old) > 0 && string(old) != "uninitialized\n" {
		return nil
	}
	// The kernel makes a random UUID without waiting for randomness, which an early boot may lack.
	// It is good enough, because the identifier is not a key.
	const source = "/proc/sys/kernel/random/uuid"
	fd, err := unix.Open(source, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", source, "", err, "")
	}
	defer unix.Close(fd)
	var uuid [36]byte
	if _, err := unix.Read(fd, uuid[:]); err != nil {
		return fault("read", source, "", err, "")
	}
	var text []byte
	for _, c := range uuid {
		if c != '-' {
			text = append(text, c)
		}
	}
	return rewrite(path, string(append(text, '\n')))
}
