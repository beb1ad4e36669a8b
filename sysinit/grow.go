//go:build linux

package sysinit

import (
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ext4Resize is EXT4_IOC_RESIZE_FS of linux/ext4.h: _IOW('f', 16, __u64) on the architectures of
// fiFreeze.
const ext4Resize = 0x40086610

// growRoot grows the file system of the overlay disk or of the root.
func growRoot(m *machine) error {
	name := m.cfg.Overlay
	if m.cfg.WritableRoot {
		name = m.cfg.Base
	}
	_, err := resize(m.root.upper, m.root.disk, name, growLimit)
	return err
}

// growing is the row that grows the ext4 of a volume.
type growing struct{ *attaching }

func (growing) String() string { return growText }

func (a growing) run(*machine) error {
	if !a.done {
		return nil // the step before has said why
	}
	fd, err := unix.Open(a.Target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", a.Target, "", err, "")
	}
	disk, err := unix.Open(a.at, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		err = fault("open", a.at, "", err, "")
	} else {
		_, err = resize(fd, disk, a.Source, growLimit)
		unix.Close(disk)
	}
	unix.Close(fd)
	return err
}

// The kernel takes up to a millisecond for each block group in an emulated machine, and groups of a
// small disk have 8 MiB. So a file system grows in steps, of which each takes at most about half a
// second, until its limit has passed. growLimit is that of a boot.
const (
	growStep  = 4 << 30 // bytes
	growLimit = 5 * time.Second
)

// resize grows the mounted ext4 with the directory fd to the size of its device, which it returns.
func resize(fd, disk int, name string, limit time.Duration) (size uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return 0, fault("statfs", name, "", err, "")
	}
	superblock := make([]byte, 2048)
	var c content
	if n, err := unix.Pread(disk, superblock, 0); err == nil {
		c.read(superblock[:n])
	}
	size = deviceSize(disk)
	if st.Bsize <= 0 || c.kind != "ext4" || size == 0 {
		return 0, fault("grow", name, "", nil, "its size or its superblock cannot be read")
	}
	size -= size % uint64(st.Bsize)
	deadline := uptime() + limit
	for at := c.need; at < size; {
		if uptime() >= deadline {
			return at, fault("grow", name, "", unix.ETIMEDOUT, "it has "+strconv.FormatUint(at>>20, 10)+
				" of "+strconv.FormatUint(size>>20, 10)+" MiB; it goes on at the next boot or request")
		}
		at = min(at+growStep, size)
		blocks := at / uint64(st.Bsize)
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ext4Resize, uintptr(unsafe.Pointer(&blocks)))
		hint := ""
		switch {
		case e == 0:
			continue
		case e == unix.EPERM && superblock[1024+58]&2 != 0: // EXT4_ERROR_FS
			hint = "its file system has met an error (see the kernel's log); run e2fsck"
		case e == unix.EOPNOTSUPP || e == unix.EINVAL:
			hint = "its file system cannot grow while it is mounted (see the kernel's log); run resize2fs"
		}
		return at, fault("grow", name, "", e, hint)
	}
	return size, nil
}

// blank reports whether the first MiB of a device is zeros.
func blank(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	buf := make([]byte, 1<<20)
	n, err := unix.Pread(fd, buf, 0)
	unix.Close(fd)
	if err != nil || n != len(buf) {
		return false // a device of less than 1 MiB too
	}
	for _, b := range buf {
		if b != 0 {
			return false
		}
	}
	return true
}

// makers lists where mkfs.ext4 may be.
var makers = []string{"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4", "/bin/mkfs.ext4", "/usr/bin/mkfs.ext4"}

// makeLimit bounds the time of mkfs.ext4, which writes little: the kernel fills the tables later.
const makeLimit = time.Minute

// makeExt4 runs the root's mkfs.ext4 on an empty device.
func makeExt4(device string) error {
	program := ""
	for _, path := range makers {
		if program == "" && unix.Access(path, unix.X_OK) == nil {
			program = path
		}
	}
	if program == "" {
		return fault("format", device, "", unix.ENOENT, "the root has no mkfs.ext4; install e2fsprogs")
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", "/dev/null", "", err, "")
	}
	// No -F: mkfs.ext4 itself refuses a device that is in use.
	ok, err := RunFor(makeLimit, null, program, "-q", device)
	unix.Close(null)
	if err != nil {
		return err
	}
	if !ok {
		return fault("format", device, "", nil, program+" failed, or took longer than "+seconds(makeLimit)+" (see the console)")
	}
	return nil
}

// RunFor runs a program with at most three arguments, and reports whether it has succeeded within
// the limit. After the limit it is killed and left behind. Its standard input and output are stdin.
// The caller must not reap children meanwhile.
func RunFor(limit time.Duration, stdin int, program string, args ...string) (ok bool, err error) {
	s := spawning{null: uintptr(stdin), environ: [...]*byte{terminated("PATH=" + Path), nil}}
	s.args[0] = terminated(program)
	for i, arg := range args {
		s.args[1+i] = terminated(arg)
	}
	pid, e := spawn(&s)
	if e != 0 {
		return false, fault("execute", program, "", e, "")
	}
	return reap(pid, uptime()+limit), nil
}
