//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// A kernel without devtmpfs makes no device nodes. Sysfs has their numbers, as for udev and mdev,
// and the nodes are made from those.

// makeNode makes the node of a block device at path, below the working mount. name is the device's
// in /sys/class/block.
func makeNode(path, name string) error {
	// A name may have a slash, which sysfs writes as "!".
	file := []byte("sys/class/block/" + name + "/dev")
	for i := len("sys/class/block/"); i < len(file)-len("/dev"); i++ {
		if file[i] == '/' {
			file[i] = '!'
		}
	}
	text, err := readSmall(string(file))
	if err != nil {
		return err
	}
	number, ok := parseNumber(text)
	if !ok {
		return unix.EINVAL
	}
	makeParents(path)
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(number)); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

// makeNodes makes the nodes of all devices if /dev is not a devtmpfs.
func makeNodes(m *machine) error {
	if !m.bareDev {
		return nil
	}
	for _, kind := range []struct {
		dir  string
		mode uint32
	}{{"/sys/dev/char/", unix.S_IFCHR}, {"/sys/dev/block/", unix.S_IFBLK}} {
		fd, err := unix.Open(kind.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fault("open", kind.dir, "", err, "")
		}
		names := list(fd)
		unix.Close(fd)
		for _, name := range names {
			number, ok := parseNumber([]byte(name))
			text, err := readSmall(kind.dir + name + "/uevent")
			if err != nil || !ok {
				continue
			}
			path, mode := eventNode(text)
			if path == "" {
				continue
			}
			makeParents(path)
			if err := unix.Mknod(path, kind.mode|mode, int(number)); err != nil &&
				err != unix.EEXIST {
				return fault("mknod", path, "", err, "")
			}
		}
	}
	return nil
}

// eventNode returns the path and the mode of a device's node according to the device's uevent file.
// Without a mode in it, the mode is 0600, as in devtmpfs.
func eventNode(text []byte) (path string, mode uint32) {
	mode = 0o600
	for len(text) > 0 {
		line := text
		for i, c := range text {
			if c == '\n' {
				line = text[:i]
				break
			}
		}
		text = text[min(len(line)+1, len(text)):]
		switch key, value, _ := cut(string(line)); key {
		case "DEVNAME":
			path = "/dev/" + value
		case "DEVMODE":
			if n, ok := parseUint(value, 8, 0o7777); ok {
				mode = uint32(n)
			}
		}
	}
	return path, mode
}

// parseNumber parses "254:16", with or without a newline.
func parseNumber(text []byte) (number uint64, ok bool) {
	for len(text) > 0 && text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	for i, c := range text {
		if c == ':' {
			major, ok := parseUint(string(text[:i]), 10, 1<<32-1)
			minor, good := parseUint(string(text[i+1:]), 10, 1<<32-1)
			return unix.Mkdev(uint32(major), uint32(minor)), ok && good
		}
	}
	return 0, false
}

// deviceNumber formats a device's number as sysfs does, "254:16".
func deviceNumber(dev uint64) string {
	return strconv.Itoa(int(unix.Major(dev))) + ":" + strconv.Itoa(int(unix.Minor(dev)))
}

// makeParents makes the parent directories of path.
func makeParents(path string) {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			unix.Mkdir(path[:i], 0o755)
		}
	}
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}
