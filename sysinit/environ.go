//go:build linux

package sysinit

// Path is the search path of children when the kernel's command line names none.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ returns the environment that children get, made from the one that the kernel gave to
// process 1: "HOME=/", "TERM=linux" and each a=b of the command line that the kernel does not know.
// All of that is kept (TZ=UTC there is a way to set it), except for a HOME of /, which is never
// meant, and psi=1, which a kernel without PSI passes on. PATH, HOME, USER, LOGNAME and TERM are set
// in any case.
func Environ(kernel []string) []string {
	env := make([]string, 0, len(kernel)+5)
	for _, entry := range kernel {
		if entry != "HOME=/" && entry != "psi=1" {
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
		if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
			return true
		}
	}
	return false
}
