//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// dir makes a directory if path is free. An existing entry keeps the mode that the image gave it.
type dir struct {
	path string
	mode uint32
}

func (d dir) String() string { return "mkdir " + d.path + " " + octal(d.mode) }

func (d dir) run(*machine) error {
	if err := unix.Mkdir(d.path, d.mode); err != nil && err != unix.EEXIST {
		return fault("mkdir", d.path, "", err, "")
	}
	return nil
}

// mount mounts a file system that needs no device, and makes the mount point.
type mount struct {
	kind, target string
	flags        uintptr
	data         string
}

func (r mount) String() string {
	s := "mount " + r.kind + " on " + r.target
	options := ""
	for _, f := range []struct {
		flag uintptr
		name string
	}{
		{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"},
		{unix.MS_NOEXEC, "noexec"}, {unix.MS_NOATIME, "noatime"},
	} {
		if r.flags&f.flag != 0 {
			options += "," + f.name
		}
	}
	if r.data != "" {
		options += "," + r.data
	}
	if options != "" {
		s += " (" + options[1:] + ")"
	}
	return s
}

func (r mount) run(*machine) error {
	// The base image need not have mount points. The overlay is writable, so they are made there.
	// If that fails (in sysfs), mount reports a better error than mkdir.
	unix.Mkdir(r.target, 0o755)
	if err := unix.Mount(r.kind, r.target, r.kind, r.flags, r.data); err != nil {
		return fault("mount", r.kind, r.target, err, lacks(err, r.kind))
	}
	return nil
}

// scratch makes a directory for temporary files of all users if its parent exists. It opens an
// existing one that belongs to root and that others may not write to, as systemd-tmpfiles does at
// every boot. A plain mkdir during the build of the image left it so.
type scratch struct {
	path, in string
}

func (s scratch) String() string { return "mkdir " + s.path + " 01777" }

func (s scratch) run(*machine) error {
	err := unix.Mkdir(s.path, 0o1777)
	if err == nil || err == unix.ENOENT && !exists(s.in) {
		return nil
	}
	if err != unix.EEXIST {
		return fault("mkdir", s.path, "", err, "")
	}
	var st unix.Stat_t
	if unix.Lstat(s.path, &st) != nil || st.Uid != 0 || st.Mode == unix.S_IFDIR|0o1777 ||
		st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // it exists, and it is not root's directory
	}
	if err := unix.Chmod(s.path, 0o1777); err != nil {
		return fault("chmod", s.path, "", err, "")
	}
	return nil
}

// link makes a symbolic link if there is no entry.
type link struct {
	path, to string
}

func (l link) String() string { return "link " + l.path + " to " + l.to }

func (l link) run(*machine) error {
	if err := unix.Symlink(l.to, l.path); err != nil && err != unix.EEXIST {
		return fault("link", l.path, "", err, "")
	}
	return nil
}

// atLeast raises a setting below /proc/sys, one digit, to a value. A higher one stays.
type atLeast struct {
	name  string // "fs/protected_symlinks"
	value byte
}

func (a atLeast) String() string { return "set " + a.name + " to " + string(a.value) + " or more" }

func (a atLeast) run(*machine) error {
	path := "/proc/sys/" + a.name
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // the kernel is older than the setting
	}
	if err != nil {
		return fault("open", path, "", err, "")
	}
	defer unix.Close(fd)
	var now [1]byte
	if n, err := unix.Pread(fd, now[:], 0); err == nil && n == 1 && now[0] >= a.value {
		return nil
	}
	if _, err := unix.Pwrite(fd, []byte{a.value}, 0); err != nil {
		return fault("write", path, "", err, "")
	}
	return nil
}

// octal formats a mode.
func octal(mode uint32) string { return "0" + strconv.FormatUint(uint64(mode), 8) }
