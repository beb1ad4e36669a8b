//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// The ways to name a block device by something of its own.
const (
	bySerial = "serial:" // the text that the host gave the drive
	byUUID   = "uuid:"   // of the file system on it
	byLabel  = "label:"
)

// searchKey splits a source into the way of naming and the text. A path has neither.
func searchKey(source string) (by, text string) {
	for _, by := range [...]string{bySerial, byUUID, byLabel} {
		if len(source) >= len(by) && source[:len(by)] == by {
			return by, source[len(by):]
		}
	}
	return "", ""
}

// search returns the path of the block device that source names. It fails with ENOENT if no
// device has the name yet, and with a StepError if two have it.
func (m *machine) search(source string) (path string, err error) {
	by, text := searchKey(source)
	if by == byUUID {
		text = parseUUID(text)
	}
	const class = "/sys/class/block"
	fd, err := unix.Open(class, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fault("open", class, "", err, "")
	}
	names := list(fd)
	unix.Close(fd)
	for _, name := range names {
		device := deviceOf(name)
		if m.nodes == sysfsNodes {
			makeNode(device[1:], name) //nolint:errcheck // a device without a node has no name
		}
		if nameOf(by, name, device) != text {
			continue
		}
		if path != "" {
			return "", fault("find", source, "", nil, "both "+path+" and "+device+" have it")
		}
		path = device
	}
	if path == "" {
		return "", unix.ENOENT
	}
	return path, nil
}

// deviceOf returns the path of a block device by its name in sysfs, which writes a slash as "!".
func deviceOf(name string) string {
	path := []byte("/dev/" + name)
	for i, c := range path {
		if c == '!' {
			path[i] = '/'
		}
	}
	return string(path)
}

// nameOf returns the serial, the UUID or the label of a device, or "".
func nameOf(by, name, device string) string {
	if by != bySerial {
		return superblockName(by, name, device)
	}
	// virtio has it at the disk, NVMe at the device behind it.
	for _, file := range [...]string{"/serial", "/device/serial"} {
		if text, err := readSmall("/sys/class/block/" + name + file); err == nil {
			return trim(string(text))
		}
	}
	return ""
}

// superblockName reads the UUID or the label of an ext4 or erofs.
func superblockName(by, name, device string) string {
	if len(name) > 2 && name[:2] == "fd" {
		return "" // a floppy drive: to find it empty takes seconds
	}
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	var b [256]byte
	n, err := unix.Pread(fd, b[:], 1024)
	unix.Close(fd)
	if err != nil || n != len(b) {
		return ""
	}
	uuid := 0
	switch {
	case string(b[56:58]) == "\x53\xef":
		uuid = 104
	case string(b[0:4]) == "\xe2\xe1\xf5\xe0":
		uuid = 48
	default:
		return ""
	}
	// In both the label follows the UUID.
	if by == byUUID {
		return string(b[uuid : uuid+16])
	}
	label := b[uuid+16 : uuid+32]
	for i, c := range label {
		if c == 0 {
			label = label[:i]
			break
		}
	}
	return string(label)
}

// parseUUID returns the 16 bytes of a UUID, with or without hyphens, or "".
func parseUUID(text string) string {
	var uuid [16]byte
	digits := 0
	for i := range len(text) {
		c, d := text[i], byte(0)
		switch {
		case c == '-':
			continue
		case c >= '0' && c <= '9':
			d = c - '0'
		case c >= 'a' && c <= 'f':
			d = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			d = c - 'A' + 10
		default:
			return ""
		}
		if digits == 2*len(uuid) {
			return ""
		}
		uuid[digits/2] = uuid[digits/2]<<4 | d
		digits++
	}
	if digits != 2*len(uuid) {
		return ""
	}
	return string(uuid[:])
}
