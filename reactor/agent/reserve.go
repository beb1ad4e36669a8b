package agent

import "golang.org/x/sys/unix"

// reserve is descriptors that are held to be given up when a command must be killed, be the process or the machine out of them:
// to kill a cgroup takes one, and to look through /proc two. A pipe is two, of files of its own.
type reserve [2]int

// fill takes them. Where there are none to be had, the next time will do.
func (r *reserve) fill() {
	if *r == (reserve{}) {
		unix.Pipe2(r[:], unix.O_CLOEXEC)
	}
}

// open gives them up.
func (r *reserve) open() {
	if *r != (reserve{}) {
		unix.Close(r[0])
		unix.Close(r[1])
		*r = reserve{}
	}
}
