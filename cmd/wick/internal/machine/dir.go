package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dirPattern names the machines' directories in the directory for temporary files.
const dirPattern = "wick-*"

// lockName is the file in a machine's directory that its owner holds locked.
const lockName = "lock"

// longestDir leaves room for the names of the sockets within the 107 bytes of a Unix socket's path.
const longestDir = 80

// workDir is a machine's directory.
type workDir struct {
	path string
	lock *os.File
}

// newDir makes a machine's directory, and takes away those whose owner was killed.
func newDir() (*workDir, error) {
	base := os.TempDir()
	if len(base) > longestDir {
		base = "/tmp"
	}
	sweep(base)
	path, err := os.MkdirTemp(base, dirPattern)
	if err != nil {
		return nil, fmt.Errorf("make the machine's directory: %w", err)
	}
	d := &workDir{path: path}
	// Under its name the lock is never without its holder, or another's sweep could take the directory away.
	unready := filepath.Join(path, lockName+".new")
	d.lock, err = os.OpenFile(unready, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(unready, filepath.Join(path, lockName))
	}
	if err != nil {
		d.remove()
		return nil, fmt.Errorf("lock the machine's directory: %w", err)
	}
	return d, nil
}

// file is the path of a file in it.
func (d *workDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *workDir) remove() {
	os.RemoveAll(d.path)
	if d.lock != nil {
		d.lock.Close()
	}
}

// keep lets go of the directory and leaves it there.
func (d *workDir) keep() {
	os.Remove(d.file(lockName))
	d.lock.Close()
}

// sweep removes the directories of ours that nobody holds.
func sweep(base string) {
	locks, _ := filepath.Glob(filepath.Join(base, dirPattern, lockName))
	for _, path := range locks {
		dir := filepath.Dir(path)
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		f.Close()
	}
}
