//go:build linux

package sysinit

import (
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// find waits until a block device exists and has a size, and returns the path to open it by. The
// result may differ from path. If an initramfs has not mounted /dev, we look into a devtmpfs of our
// own. On a kernel without devtmpfs we make a node with the number in sysfs.
//
// It checks every millisecond at first and every ten later, or every hundred if it must search for
// a serial, UUID or label. Inotify would be faster, but it reports only the node. A missing driver
// behind the node (ENXIO) and a disk without a size need polling.
func (m *machine) find(path string) (string, error) {
	deadline, slowest := m.deadline, 10*time.Millisecond
	if deadline == 0 {
		deadline = uptime() + m.cfg.Wait
	}
	by, _ := searchKey(path)
	if by != "" {
		slowest *= 10
	}
	for delay := time.Millisecond; ; delay = min(2*delay, slowest) {
		at, number, err := m.lookFor(by, path)
		if e, ok := err.(*StepError); ok {
			return "", e
		}
		if err == nil {
			m.drives = append(m.drives, drive{path, number})
			return at, nil
		}
		switch err {
		case unix.ENOENT, unix.ENOTDIR, unix.ENXIO, unix.ENODEV, unix.ENOMEDIUM:
		case unix.ENOTBLK:
			return "", fault("find", path, "", err, "")
		default:
			return "", fault("open", path, "", err, "")
		}
		left := deadline - uptime()
		if left <= 0 {
			hint := "the device did not appear within " + seconds(m.cfg.Wait)
			switch {
			case by != "":
				hint = "no device with this " + by[:len(by)-1] + " appeared within " + seconds(m.cfg.Wait)
			case err == unix.ENOMEDIUM:
				hint = "the device was still of size 0 after " + seconds(m.cfg.Wait)
			}
			return "", fault("find", path, "", err, hint)
		}
		pause(min(delay, left))
	}
}

// lookFor is look for a path, or for something else by which the device is named.
func (m *machine) lookFor(by, source string) (at string, number uint64, err error) {
	if by != "" {
		if source, err = m.search(source); err != nil {
			return "", 0, err
		}
	}
	return m.look(source)
}

// look tries once. ENOMEDIUM is a device without a size.
func (m *machine) look(path string) (at string, number uint64, err error) {
	number, err = blockDevice(path)
	if err == nil {
		return path, number, nil
	}
	const dev = "/dev/"
	// ENXIO is a node that came with the image or the initramfs, with the number of another kernel.
	missing := err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ENXIO
	if !missing || len(path) < len(dev) || path[:len(dev)] != dev {
		return "", 0, err
	}
	if m.nodes == noNodes {
		m.nodes = m.mountNodes()
	}
	at = path[1:]
	switch m.nodes {
	case noNodes:
		return "", 0, err
	case sysfsNodes:
		if err := makeNode(at, path[len(dev):]); err != nil {
			return "", 0, err
		}
	}
	number, err = blockDevice(at)
	return at, number, err
}

// nodes says where device nodes come from if the old root does not show them.
type nodes int

const (
	noNodes     nodes = iota // nothing is mounted for them yet, or cannot be
	kernelNodes              // dev is a devtmpfs
	sysfsNodes               // dev is a tmpfs with nodes made from the numbers in sys, a sysfs
)

// mountNodes mounts a source of device nodes in the working mount.
func (m *machine) mountNodes() nodes {
	unix.Mkdir("dev", 0o755)
	err := unix.Mount(m.kinds.dev, "dev", m.kinds.dev, unix.MS_NOSUID, "")
	if err == nil {
		return kernelNodes
	}
	if err != unix.ENODEV {
		return noNodes
	}
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC
	if unix.Mount("tmpfs", "dev", "tmpfs", flags, "mode=0700,size="+workMountSize) != nil {
		return noNodes
	}
	unix.Mkdir("sys", 0o700)
	if unix.Mount("sysfs", "sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") != nil {
		unix.Unmount("dev", 0)
		return noNodes
	}
	return sysfsNodes
}

// blockDevice returns the number of the block device at path. Its errors are ENOTBLK, ENXIO (a node
// without a driver), ENOMEDIUM (no size) and those of open(2).
func blockDevice(path string) (uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, unix.ENOTBLK
	}
	if deviceSize(fd) == 0 {
		return 0, unix.ENOMEDIUM
	}
	return st.Rdev, nil
}

// deviceSize returns the size in bytes, or 0 if the kernel does not report one.
func deviceSize(fd int) uint64 {
	var size uint64
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64,
		uintptr(unsafe.Pointer(&size))); e != 0 {
		return 0
	}
	return size
}

func deviceReadOnly(fd int) bool {
	var ro int32
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKROGET,
		uintptr(unsafe.Pointer(&ro)))
	return e == 0 && ro != 0
}

// seconds returns a time in hundredths of seconds at most, such as "5 s" or "0.01 s".
func seconds(d time.Duration) string {
	n := d.Milliseconds() / 10
	text := strconv.Itoa(int(n / 100))
	if n %= 100; n != 0 {
		text += "." + strconv.Itoa(int(n/10)) + strconv.Itoa(int(n%10))
	}
	return text + " s"
}
