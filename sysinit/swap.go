//go:build linux

package sysinit

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Swap is a place to swap to. It prints as it is given, and is the row that swaps to it.
type Swap struct {
	// Source is the path of a block device, "serial:" and a text, or "zram:" and a size.
	Source string
	// format makes an area on a device whose first MiB is zeros.
	format bool
}

// String implements row.
func (s *Swap) String() string {
	if s.format {
		return "swap to " + s.Source + " (format=empty)"
	}
	return "swap to " + s.Source
}

const (
	// inZram is a swap to compressed memory.
	inZram = "zram:"
	// maxSwaps is below the kernel's own limit, of about 27.
	maxSwaps = 16
	// zramPriority has compressed memory used before a device. Those have -2 and less.
	zramPriority = 100
	// swapPrefer has the low bits of the flags be a priority; swapon(2).
	swapPrefer = 0x8000
	// swapMagic ends the first page of a swap area.
	swapMagic = "SWAPSPACE2"
)

// swapSource returns the source of a swap's text.
func swapSource(text string) string {
	source, _, _ := cutAt(text, ',')
	return source
}

func isZram(source string) bool {
	return len(source) > len(inZram) && source[:len(inZram)] == inZram
}

// setSwap adds a swap, or replaces the one with its source.
func setSwap(swaps *[]*Swap, text string) error {
	source, option, more := cutAt(text, ',')
	s := &Swap{source, option == "format=empty"}
	by, name := searchKey(source)
	switch {
	case isZram(source):
		var size string
		if err := setSize(&size, source[len(inZram):]); err != nil {
			return err
		}
		if more {
			return valueError("compressed memory takes no option")
		}
	case by == bySerial && name != "", by == "" && len(source) > 1 && source[0] == '/':
		if more && !s.format {
			return valueError("unknown option \"" + option + "\"")
		}
	default:
		return valueError("not the path of a device, serial: and a text, or zram: and a size")
	}
	for i, other := range *swaps {
		if other.Source == source {
			(*swaps)[i] = s
			return nil
		}
	}
	if len(*swaps) == maxSwaps {
		return valueError("more than " + strconv.Itoa(maxSwaps) + " swaps")
	}
	*swaps = append(*swaps, s)
	return nil
}

// run implements row.
func (s *Swap) run(m *machine) error {
	source, zram := s.Source, isZram(s.Source)
	if zram {
		var err error
		if source, err = makeZram(source[len(inZram):]); err != nil {
			return err
		}
	}
	at, err := m.find(source)
	if err != nil {
		return err
	}
	if at[0] != '/' {
		at = "/" + at
	}
	if zram {
		if err := formatSwap(at); err != nil {
			return err
		}
		return swapOn(at, swapPrefer|zramPriority)
	}
	c, err := probe(at)
	switch {
	case err != nil:
		return fault("read", s.Source, "", err, "")
	case c.kind == "swap":
	case s.format && blank(at):
		if err := formatSwap(at); err != nil {
			return err
		}
	case c.empty:
		return fault("swap to", s.Source, "", unix.EINVAL, "the device is empty (not formatted)")
	default:
		kind := c.kind
		if kind == "" {
			kind = "no known file system"
		}
		return fault("swap to", s.Source, "", unix.EINVAL, holdsOther(kind, "swap"))
	}
	return swapOn(at, 0)
}

// swapOn has the kernel swap to a device.
func swapOn(device string, flags uintptr) error {
	_, _, e := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(terminated(device))), flags, 0)
	switch e {
	case 0:
		return nil
	case unix.ENOSYS:
		return fault("swap to", device, "", e, "the kernel lacks swap")
	case unix.EINVAL:
		return fault("swap to", device, "", e, "its swap area is damaged or of another page size (see the kernel's log)")
	}
	return fault("swap to", device, "", e, "")
}

// formatSwap writes the header of a swap area of the whole device: union swap_header of
// linux/swap.h, version 1, in the byte order of the machine, which is little-endian.
func formatSwap(device string) error {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", device, "", err, "")
	}
	page := unix.Getpagesize()
	b := make([]byte, page)
	last := deviceSize(fd)/uint64(page) - 1
	b[1024] = 1
	for i := range 4 {
		b[1028+i] = byte(last >> (8 * i))
	}
	copy(b[page-len(swapMagic):], swapMagic)
	if _, err = unix.Pwrite(fd, b, 0); err == nil {
		err = unix.Fsync(fd)
	}
	unix.Close(fd)
	if err != nil {
		return fault("write", device, "", err, "")
	}
	return nil
}

// makeZram makes a device of compressed memory and returns its path. A share such as 50% is that of
// the machine's memory.
func makeZram(size string) (device string, err error) {
	if n := len(size); size[n-1] == '%' {
		share, _ := parseUint(size[:n-1], 10, 100)
		var have unix.Sysinfo_t
		if err := unix.Sysinfo(&have); err != nil {
			return "", fault("sysinfo", "", "", err, "")
		}
		size = strconv.FormatUint(have.Totalram*uint64(have.Unit)/100*share, 10)
	}
	number := "0"
	// The kernel makes the first device by itself. Reading hot_add makes another.
	if used, err := readSmall("/sys/block/zram0/disksize"); err != nil || trim(string(used)) != "0" {
		text, err := readSmall("/sys/class/zram-control/hot_add")
		if err != nil {
			return "", fault("make", "zram", "", unix.ENODEV, "the kernel lacks zram")
		}
		number = trim(string(text))
	}
	path := "/sys/block/zram" + number + "/disksize"
	if err := put(path, size); err != nil {
		hint := ""
		if err == unix.EINVAL {
			hint = "the kernel lacks the compressor (see its log)"
		}
		return "", fault("write", path, "", err, hint)
	}
	return "/dev/zram" + number, nil
}

// put writes a text to a file of the kernel.
func put(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	unix.Close(fd)
	return err
}
