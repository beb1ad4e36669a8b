package contain

import "golang.org/x/sys/unix"

// reserve holds two descriptors, the ends of a pipe, which are closed when a command must be killed
// and there are no others. Killing a cgroup takes one, and reading /proc two.
type reserve [2]int

// fill opens the pipe. If that fails, the next call tries again.
func (r *reserve) fill() {
	if *r == (reserve{}) {
		unix.Pipe2(r[:], unix.O_CLOEXEC)
	}
}

// open closes the pipe, so that other descriptors can be opened.
func (r *reserve) open() {
	if *r != (reserve{}) {
		unix.Close(r[0])
		unix.Close(r[1])
		*r = reserve{}
	}
}
