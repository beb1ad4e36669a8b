package contain

import "golang.org/x/sys/unix"

// reserve holds two descriptors, the ends of a pipe, to give up when a command must be killed and
// there are no others. To kill a cgroup takes one, and to read /proc two.
type reserve [2]int

// fill opens them. If that fails, the next call tries again.
func (r *reserve) fill() {
	if *r == (reserve{}) {
		unix.Pipe2(r[:], unix.O_CLOEXEC)
	}
}

// open closes them, so that others can be opened.
func (r *reserve) open() {
	if *r != (reserve{}) {
		unix.Close(r[0])
		unix.Close(r[1])
		*r = reserve{}
	}
}
