//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// content describes what a device holds.
type content struct {
	// kind is "squashfs", "ext4", and so on, or "" if it is unknown.
	kind string
	// empty says that the first 68 KiB are zeros.
	empty bool
	// size is the device's and need the file system's, in bytes. need is 0 if it was not read.
	size, need uint64
	readOnly   bool
	// replay says that the journal of an ext4 must be replayed.
	replay bool
}

// probeSize reaches beyond the last magic number in the table, that of btrfs.
const probeSize = 68 << 10

// magics lists the magic numbers of file systems and their offsets.
var magics = []struct {
	offset int
	magic  string
	kind   string
}{
	{0, "hsqs", "squashfs"},
	// ext2, ext3 and ext4 share it; the kernel mounts all of them as ext4.
	{1024 + 56, "\x53\xef", "ext4"},
	{1024, "\xe2\xe1\xf5\xe0", "erofs"},
	{0, "XFSB", "xfs"},
	{65536 + 64, "_BHRfS_M", "btrfs"},
	{4096 - 10, "SWAPSPACE2", "swap"},
	{0, "LUKS\xba\xbe", "luks"},
	{510, "\x55\xaa", "a partition table or FAT"},
}

// probe reads what is on the device. It is called only after a mount has failed, so a good boot
// reads nothing extra.
func probe(path string) (content, error) {
	var c content
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return c, err
	}
	defer unix.Close(fd)
	c.size, c.readOnly = deviceSize(fd), deviceReadOnly(fd)
	buf := make([]byte, probeSize)
	n := 0
	for n < len(buf) {
		got, err := unix.Pread(fd, buf[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil && n == 0 {
			return c, err
		}
		if err != nil || got == 0 {
			break
		}
		n += got
	}
	c.read(buf[:n])
	return c, nil
}

func (c *content) read(b []byte) {
	c.empty = true
	for _, x := range b {
		if x != 0 {
			c.empty = false
			break
		}
	}
	for _, m := range magics {
		if end := m.offset + len(m.magic); end <= len(b) && string(b[m.offset:end]) == m.magic {
			c.kind = m.kind
			break
		}
	}
	switch {
	case c.kind == "squashfs" && len(b) >= 48:
		c.need = little(b[40:48]) // bytes_used
	case c.kind == "erofs" && len(b) >= 1024+40:
		sb := b[1024:]
		if shift := sb[12]; shift <= 16 {
			c.need = little(sb[36:40]) << shift
		}
	case c.kind == "ext4" && len(b) >= 2048:
		sb := b[1024:]
		blocks := little(sb[4:8])
		c.replay = little(sb[96:100])&0x4 != 0 // INCOMPAT_RECOVER
		if little(sb[96:100])&0x80 != 0 {      // INCOMPAT_64BIT
			blocks |= little(sb[336:340]) << 32
		}
		if shift := little(sb[24:28]); shift <= 6 {
			c.need = blocks << (10 + shift)
		}
	}
}

func little(b []byte) uint64 {
	var n uint64
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

// holdsOther returns the hint about a device that holds another kind than it should.
func holdsOther(kind, want string) string { return "the device holds " + kind + ", not " + want }

// why returns the hint of a StepError for a device that would not mount as kind.
func why(path, kind string, writable bool, failed error) string {
	if failed == unix.ENODEV {
		return lacks(failed, kind)
	}
	if failed == unix.EBUSY {
		return "the device is in use"
	}
	if failed == unix.ENOMEM {
		return "" // the device is not to blame
	}
	c, err := probe(path)
	switch {
	case err != nil:
		return "the device cannot be read: " + err.Error()
	case c.empty:
		return "the device is empty (not formatted)"
	case c.kind == "":
		return "the device holds no known file system, not " + kind
	case c.kind != kind:
		return holdsOther(c.kind, kind)
	case c.need > c.size:
		return "the device is cut short: " + strconv.FormatUint(c.size, 10) + " of the " +
			strconv.FormatUint(c.need, 10) + " bytes of its " + kind
	case writable && c.readOnly:
		return "the device is read-only"
	case c.readOnly && c.replay:
		return "the device is read-only, and its journal must be replayed"
	default:
		// EINVAL also means that the kernel was built without a compressor or a feature.
		return "the device holds a damaged " + kind +
			", or one that needs a feature this kernel lacks (see its log)"
	}
}
