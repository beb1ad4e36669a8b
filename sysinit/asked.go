//go:build linux

package sysinit

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// These functions do to a machine that is up what a host asks for. They may wait for a disk, so
// each is called in a child process, which shares the mounts of process 1. root is a directory of
// the disk that takes the root's writes. Any other descriptor says that there is no such disk.

// asked returns a machine for a child.
func asked(root int, wait time.Duration) *machine {
	r := &Root{upper: -1, disk: -1}
	var st unix.Stat_t
	if unix.Fstat(root, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		r.upper = root
	}
	m := newMachine(&Config{Wait: wait}, r)
	m.nodes = kernelNodes
	if !hasMount("/dev", "devtmpfs") {
		m.nodes = sysfsNodes
	}
	return m
}

// hasMount reports whether a file system of that type is mounted at path.
func hasMount(path, kind string) bool {
	for text := string(readAll("/proc/self/mountinfo")); text != ""; {
		var line string
		line, text, _ = cutAt(text, '\n')
		if l, ok := parseMountLine(line); ok && l.name == path && l.kind == kind {
			return true
		}
	}
	return false
}

// Attach mounts a volume, as --mount has it. Its device may take wait to appear. If mounted is
// true, the error is about what follows: the ext4 did not grow, or is full.
func Attach(text string, wait time.Duration, root int) (mounted bool, err error) {
	v, err := parseVolume(text)
	if err != nil {
		return false, fault("mount", text, "", unix.EINVAL, err.Error())
	}
	if isMount(v.Target) {
		return false, fault("mount", v.Source, v.Target, unix.EBUSY, "a file system is mounted there")
	}
	m := asked(root, wait)
	m.cfg.Volumes = []*Volume{v}
	for i, s := range PlanVolumes(m.cfg) {
		for _, r := range s.rows {
			if e := r.run(m); e != nil && err == nil {
				err = e
			}
		}
		if i == 0 && err != nil {
			return false, err
		}
	}
	return true, err
}

// Detach unmounts the last mount at target. If it is busy, lazy detaches it; otherwise the error
// names what uses it. Detach first writes what is dirty.
func Detach(target string, lazy bool) error {
	if target == "" || target[0] != '/' || checkTarget(target) == valueError(notBelow) {
		return fault("unmount", target, "", unix.EINVAL, notBelow)
	}
	mounts := (&Root{upper: -1, disk: -1}).mounts()
	found := lastAt(target, mounts)
	if found == nil {
		target = resolved(target)
		found = lastAt(target, mounts)
	}
	if found == nil {
		for _, own := range ownMounts {
			if own == target {
				return fault("unmount", target, "", unix.EPERM, "it belongs to the machine itself")
			}
		}
		return fault("unmount", target, "", unix.EINVAL, "no file system is mounted there")
	}
	if found.block {
		if err := flush(target); err != nil {
			return fault("flush", target, "", err, "a write was lost; it is still mounted")
		}
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(target, flags)
	if err == nil {
		return nil
	}
	hint := ""
	if err == unix.EBUSY {
		hint = users(target, mounts)
	}
	return fault("unmount", target, "", err, hint)
}

// lastAt returns the last mount at a path, or nil. mounts has the last first.
func lastAt(path string, mounts []leaving) *leaving {
	for i := range mounts {
		if mounts[i].name == path {
			return &mounts[i]
		}
	}
	return nil
}

// resolved returns a path without symbolic links, or as it is if it does not exist.
func resolved(path string) string {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return path
	}
	var buf [4096]byte
	if n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf[:]); err == nil {
		path = string(buf[:n])
	}
	unix.Close(fd)
	return path
}

// flush writes what is dirty of the file system at path. An error is that of a write since the last
// time.
func flush(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Syncfs(fd)
	unix.Close(fd)
	if err == unix.EROFS {
		err = nil
	}
	return err
}

// maxUsers limits the users of a file system that are named.
const maxUsers = 8

// users names what uses the file system at target: the mounts below it, and the processes that have
// a file or directory of it.
func users(target string, mounts []leaving) string {
	text, n := "", 0
	add := func(user string) bool {
		n++
		switch {
		case n > maxUsers:
			text += " and more"
			return false
		case n > 1:
			text += ", "
		}
		text += user
		return true
	}
	for i := range mounts {
		if name := mounts[i].name; name != target && contains(target, name) && !add("mount "+name) {
			return "in use by " + text
		}
	}
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	pids := list(fd)
	unix.Close(fd)
	for _, pid := range pids {
		if pid[0] < '1' || pid[0] > '9' || !uses("/proc/"+pid, target) {
			continue
		}
		command := readAll("/proc/" + pid + "/comm")
		if !add(pid + " (" + trim(string(command)) + ")") {
			break
		}
	}
	if n == 0 {
		return "in use by no process; a loop device, a swap file or another mount may use it"
	}
	return "in use by " + text
}

// uses reports whether a process has something of the file system at target. Links of proc are read
// and not followed, so a file system that does not answer delays nothing.
func uses(process, target string) bool {
	links := []string{process + "/cwd", process + "/root", process + "/exe"}
	if fd, err := unix.Open(process+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		for _, name := range list(fd) {
			links = append(links, process+"/fd/"+name)
		}
		unix.Close(fd)
	}
	var buf [4096]byte
	for _, link := range links {
		if n, err := unix.Readlink(link, buf[:]); err == nil && contains(target, string(buf[:n])) {
			return true
		}
	}
	// 7f00-7f01 r-xp 00000000 fe:20 12    /data/program
	for text := string(readAll(process + "/maps")); text != ""; {
		var line string
		line, text, _ = cutAt(text, '\n')
		for i := range line {
			if line[i] == '/' {
				if contains(target, line[i:]) {
					return true
				}
				break
			}
		}
	}
	return false
}
