//go:build linux

package sysinit

import (
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fiTrim is FITRIM of linux/fs.h: _IOWR('X', 121, struct fstrim_range) on the architectures of
// fiFreeze.
const fiTrim = 0xc0185879

// askedLimit limits how long a request grows a disk.
const askedLimit = 50 * time.Second

// overlayMagic is the type of overlayfs in statfs(2).
const overlayMagic = 0x794c7630

// Trim gives the blocks that the file system of path does not use back to the host, and returns
// their bytes. An empty path means every file system that has trims.
func Trim(path string, root int) (bytes uint64, err error) {
	err = eachDisk(path, root, func(fd int, name string, _ uint64) error {
		r := struct{ start, length, least uint64 }{0, 1<<64 - 1, 0}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fiTrim, uintptr(unsafe.Pointer(&r)))
		switch e {
		case 0:
			bytes += r.length
			return nil
		case unix.EOPNOTSUPP, unix.ENOTTY, unix.EROFS:
			if path == "" {
				return nil
			}
			if e == unix.ENOTTY {
				e = unix.EOPNOTSUPP
			}
			return fault("trim", name, "", e, "its drive or its file system takes no trims, or is read-only")
		}
		return fault("trim", name, "", e, "")
	})
	return bytes, err
}

// Grow resizes the ext4 of path to its device, and returns its size. An empty path means every
// ext4; then the size is the sum.
func Grow(path string, root int) (size uint64, err error) {
	err = eachDisk(path, root, func(fd int, name string, device uint64) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return fault("statfs", name, "", err, "")
		}
		if st.Type != unix.EXT4_SUPER_MAGIC {
			if path == "" {
				return nil
			}
			return fault("grow", name, "", unix.EOPNOTSUPP, "it is no ext4")
		}
		disk, err := openDevice(device)
		if err != nil {
			return fault("open", "the device of "+name, "", err, "")
		}
		n, err := resize(fd, disk, name, askedLimit)
		unix.Close(disk)
		size += n
		return err
	})
	return size, err
}

// openDevice opens a block device by its number.
func openDevice(number uint64) (fd int, err error) {
	var link [256]byte
	n, err := unix.Readlink("/sys/dev/block/"+deviceNumber(number), link[:])
	if err != nil {
		return -1, err
	}
	name := string(link[:n])
	for i := range n {
		if link[i] == '/' {
			name = string(link[i+1 : n])
		}
	}
	return unix.Open(deviceOf(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// eachDisk calls f for the file system of path. With an empty path it calls f for the disk that
// takes the root's writes, and for each block device that is mounted. It returns the first error.
func eachDisk(path string, root int, f func(fd int, name string, device uint64) error) (err error) {
	r := asked(root, 0).root
	if path != "" {
		return onDisk(path, r, f)
	}
	if r.upper >= 0 {
		err = f(r.upper, "/", r.device())
	}
	var done []uint64
mounts:
	for _, l := range r.mounts() {
		for _, device := range done {
			if device == l.device {
				continue mounts
			}
		}
		if !l.block {
			continue
		}
		fd, bad := unix.Open(l.name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if bad != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Dev == l.device { // no other mount hides it
			done = append(done, l.device)
			if bad = f(fd, l.name, l.device); bad != nil && err == nil {
				err = bad
			}
		}
		unix.Close(fd)
	}
	return err
}

// onDisk calls f for the file system of path.
func onDisk(path string, r *Root, f func(fd int, name string, device uint64) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", path, "", err, "")
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err = unix.Fstatfs(fd, &fs); err == nil {
		err = unix.Fstat(fd, &st)
	}
	switch {
	case err != nil:
		err = fault("statfs", path, "", err, "")
	case fs.Type != overlayMagic:
		err = f(fd, path, st.Dev)
	case r.upper >= 0:
		err = f(r.upper, path, r.device())
	default:
		err = fault("find", "the disk of "+path, "", unix.EOPNOTSUPP, "the overlay is in memory")
	}
	unix.Close(fd)
	return err
}

// maxDisks limits the disks that Disks returns.
const maxDisks = 64

// Disks returns a name such as "disk.vdc" and fields for each block device that has a size.
func Disks(root int) (facts [][2]string) {
	r := asked(root, 0).root
	mounts := r.mounts()
	const class = "/sys/class/block"
	fd, err := unix.Open(class, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	names := list(fd)
	unix.Close(fd)
	for _, name := range names {
		dir := class + "/" + name
		sectors, _ := readSmall(dir + "/size")
		size, _ := parseUint(trim(string(sectors)), 10, 1<<54-1)
		number, _ := readSmall(dir + "/dev")
		device, ok := parseNumber(number)
		if size == 0 || !ok || len(facts) == maxDisks {
			continue
		}
		text := "size=" + strconv.FormatUint(size<<9, 10)
		path := deviceOf(name)
		uuid := superblockName(byUUID, name, path)
		if uuid != "" {
			uuid = formatUUID(uuid)
		}
		kind := ""
		if len(name) < 2 || name[:2] != "fd" {
			c, _ := probe(path)
			kind = c.kind
		}
		on := ""
		for i := range mounts {
			if mounts[i].device == device {
				on = mounts[i].name // the first in the end
			}
		}
		for _, field := range [...][2]string{
			{" serial=", nameOf(bySerial, name, path)}, {" uuid=", uuid},
			{" label=", superblockName(byLabel, name, path)}, {" fs=", kind}, {" on=", on},
		} {
			if field[1] != "" {
				text += field[0] + escape(field[1])
			}
		}
		for _, word := range [...]struct {
			text string
			is   bool
		}{
			{" ro", isSet(dir + "/ro")}, {" trim", isSet(dir + "/queue/discard_max_bytes")},
			{" root", device == r.device()},
		} {
			if word.is {
				text += word.text
			}
		}
		facts = append(facts, [2]string{"disk." + name, text})
	}
	return facts
}

// isSet reports whether a file of sysfs has a number other than 0.
func isSet(path string) bool {
	text, err := readSmall(path)
	return err == nil && trim(string(text)) != "0"
}

// escape is the other way of unescape, for blanks and control characters.
func escape(s string) string {
	var b []byte
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '\\' || c == 0x7f {
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// formatUUID formats the 16 bytes of a UUID.
func formatUUID(uuid string) string {
	const digits = "0123456789abcdef"
	var b []byte
	for i := range len(uuid) {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, digits[uuid[i]>>4], digits[uuid[i]&15])
	}
	return string(b)
}
