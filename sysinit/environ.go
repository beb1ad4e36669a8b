//go:build linux

package sysinit

// Path is the search path of children when the kernel's command line names none.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ is the environment that children are to have, made from the one the kernel gave to process 1: "HOME=/", "TERM=linux" and
// whatever a=b the command line has that the kernel does not know. All of that is kept (TZ=UTC there is a
// way to set it), but for a HOME of /, which nobody means. PATH, HOME, USER, LOGNAME and TERM are there in the end.
func Environ(kernel []string) []string {
	env := make([]string, 0, len(kernel)+5)
	for _, entry := range kernel {
		if entry != "HOME=/" {
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
