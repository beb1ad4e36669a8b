package configure

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

const (
	// directory is where the files are.
	directory = "/run/secrets"
	// maxFiles limits the content of all files, in bytes. The file system has room for these
	// in whole pages, and for a file that replaces another.
	maxFiles   = 1 << 20
	systemSize = "3m"
	// temporary is the name of a file that is being written. No secret has it.
	temporary = "..new"
)

// files holds the secrets that are files. They are reached by the descriptor of their directory,
// so no link or mount in the guest leads elsewhere.
type files struct {
	dir   int // of the file system, or -1
	list  []file
	bytes int // of all
}

// file is a secret that is a file.
type file struct {
	name     string
	mode     uint32
	uid, gid int
	size     int
}

// open mounts the file system.
func (s *files) open() error {
	system, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return sys.NewError("fsopen", "tmpfs", err)
	}
	defer unix.Close(system)
	for _, option := range [...][2]string{{"source", "secrets"}, {"size", systemSize}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(system, option[0], option[1]); err != nil {
			return sys.NewError("fsconfig", option[0], err)
		}
	}
	unix.FsconfigSetFlag(system, "noswap") // Linux 6.4
	if err = unix.FsconfigCreate(system); err != nil {
		return sys.NewError("fsconfig", "tmpfs", err)
	}
	const attributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	dir, err := unix.Fsmount(system, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return sys.NewError("fsmount", "tmpfs", err)
	}
	unix.Mkdir("/run", 0o755)
	if err = unix.Mkdir(directory, 0o755); err == nil || err == unix.EEXIST {
		const from = unix.MOVE_MOUNT_F_EMPTY_PATH
		err = unix.MoveMount(dir, "", unix.AT_FDCWD, directory, from)
	}
	if err != nil {
		unix.Close(dir)
		return sys.NewError("mount", directory, err)
	}
	s.dir = dir
	return nil
}

// close clears and removes all files, and unmounts the file system.
func (s *files) close() {
	for len(s.list) > 0 {
		s.drop(0)
	}
	if s.dir >= 0 {
		unix.Unmount(sys.FDPath(s.dir), unix.MNT_DETACH)
		unix.Close(s.dir)
		s.dir = -1
	}
}

// set writes a file, or replaces that of the same name in one step.
func (s *files) set(f *file, content []byte) error {
	old := s.find(f.name)
	count, total := len(s.list), s.bytes+len(content)
	if old >= 0 {
		count, total = count-1, total-s.list[old].size
	}
	switch {
	case !isName(f.name):
		return errors.New("not the name of a file")
	case f.mode > 0o777:
		return errors.New("not permission bits")
	case total > maxFiles:
		return errors.New("files are longer than " + sys.Num(maxFiles>>10) + " KiB")
	case count >= maxSecrets:
		return errTooMany
	}
	if s.dir < 0 {
		if err := s.open(); err != nil {
			return err
		}
	}
	if err := s.write(f, content); err != nil {
		s.wipe(temporary, len(content))
		return err
	}
	replaced := -1
	if old >= 0 {
		replaced = s.openContent(f.name)
	}
	if err := unix.Renameat(s.dir, temporary, s.dir, f.name); err != nil {
		unix.Close(replaced)
		s.wipe(temporary, len(content))
		return sys.NewError("rename", f.name, err)
	}
	f.size = len(content)
	s.bytes = total
	if old < 0 {
		s.list = append(s.list, *f)
		return nil
	}
	zero(replaced, s.list[old].size)
	s.list[old] = *f
	return nil
}

// isName reports whether a name is that of a file in the directory.
func isName(name string) bool {
	if name == "" || name == "." || len(name) > 1 && name[:2] == ".." {
		return false
	}
	return sys.LastSlash(name) < 0
}

// write writes the temporary file.
func (s *files) write(f *file, content []byte) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(s.dir, temporary, flags, 0)
	if err != nil {
		return sys.NewError("open", f.name, err)
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, content)
	if err == nil && n < len(content) {
		err = unix.ENOSPC // the only reason why a regular file takes less
	}
	if err == nil {
		err = unix.Fchown(fd, f.uid, f.gid)
	}
	if err == nil {
		err = unix.Fchmod(fd, f.mode)
	}
	return sys.Wrap("write", f.name, err)
}

// find returns the index of the file of that name, or -1.
func (s *files) find(name string) int {
	for i := range s.list {
		if s.list[i].name == name {
			return i
		}
	}
	return -1
}

// remove forgets the file of that name.
func (s *files) remove(name string) error {
	if i := s.find(name); i >= 0 {
		s.drop(i)
	}
	return nil
}

// drop forgets a file.
func (s *files) drop(i int) {
	f := &s.list[i]
	s.wipe(f.name, f.size)
	s.bytes -= f.size
	s.list = append(s.list[:i], s.list[i+1:]...)
}

// wipe clears the content of a file and removes it. A process that still has it open reads zeros.
func (s *files) wipe(name string, size int) {
	zero(s.openContent(name), size)
	unix.Unlinkat(s.dir, name, 0)
}

// openContent opens a file to clear it. It returns -1 if that fails.
func (s *files) openContent(name string) int {
	const flags = unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(s.dir, name, flags, 0)
	if err != nil {
		return -1
	}
	return fd
}

// zero overwrites the content of a file, unless fd is -1, and closes it.
func zero(fd, size int) {
	var zeros [4 << 10]byte
	for at := 0; at < size; {
		n, err := unix.Pwrite(fd, zeros[:min(size-at, len(zeros))], int64(at))
		if n <= 0 || err != nil {
			break
		}
		at += n
	}
	unix.Close(fd)
}
