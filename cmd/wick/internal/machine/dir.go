package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// dirPattern matches the machines' directories in the directory for temporary files.
const dirPattern = "wick-*"

// lockName is the file in a machine's directory on which its owner holds a lock.
const lockName = "lock"

// longestDir leaves room for the names of the sockets within the 107 bytes of a Unix socket's path.
const longestDir = 80

// workDir is a machine's directory.
type workDir struct {
	path string
	lock *os.File
}

// mark returns the content of the lock of a machine's directory. It names the directory, so that it
// is wrong in a copy and in another program's directory.
func mark(name string, info os.FileInfo) string {
	inode := info.Sys().(*syscall.Stat_t).Ino
	return fmt.Sprintf("directory of a machine of wick run, removed when unlocked: %s %d\n",
		name, inode)
}

// newDir makes a machine's directory in the directory for temporary files.
func newDir(keep bool) (*workDir, error) { return newDirIn("", keep) }

// newDirIn makes a machine's directory in base, and removes those there whose owner was killed. A
// directory to be kept has no mark, so that it stays however its owner ends.
func newDirIn(base string, keep bool) (*workDir, error) {
	if len(base) > longestDir {
		return nil, fmt.Errorf("make the machine's directory in %s: the path has more than %d bytes, "+
			"too many for a socket in it", base, longestDir)
	}
	if base == "" {
		base = os.TempDir()
	}
	if len(base) > longestDir {
		base = "/tmp"
	}
	return makeDir(base, keep)
}

// makeDir is newDirIn for a directory without sockets.
func makeDir(base string, keep bool) (*workDir, error) {
	sweep(base)
	path, err := os.MkdirTemp(base, dirPattern)
	if err != nil {
		return nil, fmt.Errorf("make the machine's directory: %w", err)
	}
	d := &workDir{path: path}
	if keep {
		return d, nil
	}
	// The lock gets its name only once it is held. Otherwise another process's sweep could remove
	// the directory.
	unready := d.file(lockName + ".new")
	info, err := os.Lstat(path)
	if err == nil {
		d.lock, err = os.OpenFile(unready, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	if err == nil {
		err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		_, err = d.lock.WriteString(mark(filepath.Base(path), info))
	}
	if err == nil {
		err = os.Rename(unready, d.file(lockName))
	}
	if err != nil {
		d.remove()
		return nil, fmt.Errorf("lock the machine's directory: %w", err)
	}
	return d, nil
}

// file returns the path of a file in the directory.
func (d *workDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *workDir) remove() {
	os.RemoveAll(d.path)
	if d.lock != nil {
		d.lock.Close()
	}
}

// Sweep removes what killed processes of wick left in a directory of snapshots or machines.
func Sweep(base string) { sweep(base) }

// sweep removes the directories that have our mark and whose lock no process holds.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPattern))
	for _, dir := range dirs {
		if lock, err := abandoned(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// errNotOurs is the error for a directory of another program, or one in use.
var errNotOurs = errors.New("not a directory that wick run left behind")

// abandoned returns the lock, now held, of a directory that a killed wick run left behind.
func abandoned(dir string) (*os.File, error) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !ours(info) {
		return nil, errNotOurs
	}
	// Any file may have that name, even a FIFO.
	flags := os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(filepath.Join(dir, lockName), flags, 0)
	if err != nil {
		return nil, err
	}
	want := mark(filepath.Base(dir), info)
	lock, err := f.Stat()
	if err == nil && (!lock.Mode().IsRegular() || !ours(lock) || lock.Size() != int64(len(want))) {
		err = errNotOurs
	}
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(f); err == nil && string(text) != want {
			err = errNotOurs
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func ours(info os.FileInfo) bool { return info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid()) }
