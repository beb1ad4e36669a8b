//go:build linux

package sysinit

import (
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// find waits for a block device to be there and to have a size, and returns the path to open it by. That need not
// be the one given: an initramfs need not have mounted /dev, and then we look into a devtmpfs of our own.
//
// It asks every millisecond at first and every ten later. Inotify would tell sooner, but of the node alone, not of the driver behind it
// (ENXIO) or of a disk that has no size yet.
func (m *machine) find(path string) (string, error) {
	deadline := uptime() + m.cfg.Wait
	for delay := time.Millisecond; ; delay = min(2*delay, 10*time.Millisecond) {
		at, number, err := m.look(path)
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
			if err == unix.ENOMEDIUM {
				hint = "the device was still of size 0 after " + seconds(m.cfg.Wait)
			}
			return "", fault("find", path, "", err, hint)
		}
		pause(min(delay, left))
	}
}

// look tries once. ENOMEDIUM is a device of no size.
func (m *machine) look(path string) (at string, number uint64, err error) {
	number, err = blockDevice(path)
	if err == nil {
		return path, number, nil
	}
	const dev = "/dev/"
	if err != unix.ENOENT && err != unix.ENOTDIR || len(path) < len(dev) || path[:len(dev)] != dev {
		return "", 0, err
	}
	if !m.devtmpfs {
		unix.Mkdir("dev", 0o755)
		if unix.Mount(m.kinds.dev, "dev", m.kinds.dev, unix.MS_NOSUID, "") != nil {
			return "", 0, err
		}
		m.devtmpfs = true
	}
	at = path[1:]
	number, err = blockDevice(at)
	return at, number, err
}

// blockDevice opens path and says its number, or why it is of no use: ENOTBLK, ENXIO (a node without a driver),
// ENOMEDIUM (no size), or what open(2) says.
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

// deviceSize is in bytes; 0 also if the kernel does not say.
func deviceSize(fd int) uint64 {
	var size uint64
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); e != 0 {
		return 0
	}
	return size
}

func deviceReadOnly(fd int) bool {
	var ro int32
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKROGET, uintptr(unsafe.Pointer(&ro)))
	return e == 0 && ro != 0
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) + " s"
}
