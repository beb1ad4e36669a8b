//go:build linux

package sysinit

// Path is the search path of children when the kernel command line sets none.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ returns the environment of children, made from that of process 1. The kernel sets
// "HOME=/", "TERM=linux" and every a=b of its command line that it does not know. Environ keeps all
// of these (TZ=UTC there is a way to set it) except a few. It drops a HOME of /, and psi=1, ip= and
// nfsaddrs=, which a kernel without PSI or IP_PNP passes on. It adds PATH, HOME, USER, LOGNAME and
// TERM where they are missing.
func Environ(kernel []string) []string {
	env := make([]string, 0, len(kernel)+5)
	for _, entry := range kernel {
		if entry != "HOME=/" && entry != "psi=1" && !of(entry, "ip") && !of(entry, "nfsaddrs") {
			env = append(env, entry)
		}
	}
	for _, d := range [][2]string{
		{"PATH", Path}, {"HOME", "/root"}, {"USER", "root"}, {"LOGNAME", "root"}, {"TERM", "linux"},
	} {
		if !has(env, d[0]) {
			env = append(env, d[0]+"="+d[1])
		}
	}
	return env
}

func has(env []string, name string) bool {
	for _, entry := range env {
		if of(entry, name) {
			return true
		}
	}
	return false
}

// of reports whether an entry is a value of that name.
func of(entry, name string) bool {
	return len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '='
}
