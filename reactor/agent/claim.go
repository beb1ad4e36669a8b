package agent

import "golang.org/x/sys/unix"

// The directory that an agent has its cgroups in is locked as long as the agent lives, by flock(2): its number says nothing in another
// PID namespace, and may be another's by now. One that is not locked was left by an agent that did not end in order, or that had left
// processes running.

const (
	// groupPrefix is how the names of these directories begin. The process's number follows.
	groupPrefix = "wick-"
	// leftOverBatch is the most of them that one start removes.
	leftOverBatch = 64
)

// claim makes and locks one in base.
func (t *containment) claim(base string) error {
	name := base + "/" + groupPrefix + num(unix.Getpid())
	path := name
	for i := 1; ; i++ {
		err := unix.Mkdir(path, 0o755)
		if err == nil {
			if t.lock, err = lockDir(path); err == nil {
				t.path = path
				return nil
			}
		} else {
			err = opError("mkdir", path, err)
		}
		// Not the first agent of this process, or with this process's number; or one that is just starting took it for left over.
		if i == 100 || !isErrno(err, unix.EEXIST) && !isErrno(err, unix.EAGAIN) && !isErrno(err, unix.ENOENT) {
			return err
		}
		path = name + "-" + num(i)
	}
}

// removeLeftOver removes the directories in base that were left over, as far as no process is in them.
// buf is for reading.
func removeLeftOver(base string, buf []byte) {
	dir, err := openDir(base)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	removed := 0
	half := len(buf) / 2
	eachEntry(dir, buf[:half], func(name string) {
		if removed == leftOverBatch || len(name) <= len(groupPrefix) || name[:len(groupPrefix)] != groupPrefix {
			return
		}
		number, _, _ := cut(name[len(groupPrefix):], '-')
		pid, ok := parseNumber(number)
		if !ok || int(pid) != unix.Getpid() && unix.Kill(int(pid), 0) != unix.ESRCH {
			return // most likely it is that process's
		}
		path := base + "/" + name
		lock, err := lockDir(path)
		if err != nil {
			return
		}
		eachEntry(lock, buf[half:], func(name string) {
			if _, ok := parseNumber(name); ok {
				unix.Unlinkat(lock, name, unix.AT_REMOVEDIR)
			}
		})
		if unix.Rmdir(path) == nil {
			removed++
		}
		unix.Close(lock)
	})
}

// lockDir opens a directory and locks it. EAGAIN: another has it.
func lockDir(path string) (fd int, err error) {
	if fd, err = openDir(path); err != nil {
		return -1, err
	}
	var own, now unix.Stat_t
	if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		// Whoever had it until now may have removed it.
		if unix.Fstat(fd, &own) != nil || unix.Stat(path, &now) != nil || own.Ino != now.Ino {
			err = unix.ENOENT
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, opError("flock", path, err)
	}
	return fd, nil
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, wrapOp("open", path, err)
}

// eachEntry calls f with the name of everything in a directory. buf is for reading.
func eachEntry(dir int, buf []byte, f func(name string)) {
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil || n <= 0 {
			return
		}
		for entries := buf[:n]; len(entries) > 0; entries = entries[direntSize(entries):] {
			name := direntName(entries)
			f(string(name[:len(name)-1]))
		}
	}
}

// direntSize is the length of the first entry in what getdents(2) gave. A struct linux_dirent64 is two numbers of 64 bits, the length of
// 16, the type of 8, and the name.
func direntSize(entries []byte) int { return int(entries[16]) | int(entries[17])<<8 }

// direntName is the first entry's name, with the NUL at its end.
func direntName(entries []byte) []byte {
	end := 19
	for entries[end] != 0 {
		end++
	}
	return entries[19 : end+1]
}
