package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// An agent locks the directory of its cgroups by flock(2) as long as it lives. The process number
// in its name does not identify the agent, because another process may have that number by now, or
// in another PID namespace. A directory without a lock was left by an agent that crashed, or that
// left processes running.

const (
	// groupPrefix begins the names of these directories. The process number follows.
	groupPrefix = "wick-"
	// leftOverBatch is the most of them that one start removes.
	leftOverBatch = 64
)

// claim makes a directory in base and locks it.
func (t *Pool) claim(base string) error {
	name := base + "/" + groupPrefix + sys.Num(unix.Getpid())
	path := name
	for i := 1; ; i++ {
		err := unix.Mkdir(path, 0o755)
		if err == nil {
			if t.lock, err = lockDir(path); err == nil {
				t.path = path
				return nil
			}
		} else {
			err = sys.NewError("mkdir", path, err)
		}
		// The name is taken: by another agent in this process, or with the same number. Or an agent
		// that is starting has just removed the directory as left over.
		if i == 100 || !sys.IsErrno(err, unix.EEXIST) && !sys.IsErrno(err, unix.EAGAIN) &&
			!sys.IsErrno(err, unix.ENOENT) {
			return err
		}
		path = name + "-" + sys.Num(i)
	}
}

// removeLeftOver removes the directories in base that were left over, unless they have processes.
// buf is for reading.
func removeLeftOver(base string, buf []byte) {
	dir, err := sys.OpenDir(base)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	removed := 0
	half := len(buf) / 2
	sys.EachEntry(dir, buf[:half], func(name string) {
		if removed == leftOverBatch || len(name) <= len(groupPrefix) ||
			name[:len(groupPrefix)] != groupPrefix {
			return
		}
		number, _, _ := sys.Cut(name[len(groupPrefix):], '-')
		pid, ok := sys.ParseNumber(number)
		if !ok || int(pid) != unix.Getpid() && unix.Kill(int(pid), 0) != unix.ESRCH {
			return // another process has probably just made it
		}
		path := base + "/" + name
		lock, err := lockDir(path)
		if err != nil {
			return
		}
		sys.EachEntry(lock, buf[half:], func(name string) {
			if _, ok := sys.ParseNumber(name); ok {
				unix.Unlinkat(lock, name, unix.AT_REMOVEDIR)
			}
		})
		if unix.Rmdir(path) == nil {
			removed++
		}
		unix.Close(lock)
	})
}

// lockDir opens a directory and locks it. The error is EAGAIN if another process has the lock.
func lockDir(path string) (fd int, err error) {
	if fd, err = sys.OpenDir(path); err != nil {
		return -1, err
	}
	var own, now unix.Stat_t
	if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		// The last owner may have removed the directory.
		if unix.Fstat(fd, &own) != nil || unix.Stat(path, &now) != nil || own.Ino != now.Ino {
			err = unix.ENOENT
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, sys.NewError("flock", path, err)
	}
	return fd, nil
}
