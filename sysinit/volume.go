//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Volume is a file system beside the root. It prints as it is given, SOURCE:TARGET:TYPE[:OPTIONS].
type Volume struct {
	// Source is the path of a block device, "serial:", "uuid:" or "label:" and a text, a tag of
	// virtiofs or 9p, the path to bind, or any word for a tmpfs.
	Source string
	// Target is where it is mounted: an absolute path, made if it is missing.
	Target string
	// Kind is its type, a key of volumeData.
	Kind string
	// Options is the list as it was given.
	Options string

	attributes int // MOUNT_ATTR_*
	data       [][2]string
	// required keeps the machine from booting without the volume. grow resizes an ext4 to its
	// device. format makes an ext4 on an empty device.
	required, grow, format bool
}

func (v *Volume) String() string {
	s := v.Source + ":" + v.Target + ":" + v.Kind
	if v.Options != "" {
		s += ":" + v.Options
	}
	return s
}

// bind is the type of a volume that shows a directory or file of the machine at a second place.
const bind = "bind"

// maxVolumes limits the volumes of a machine.
const maxVolumes = 64

// volumeData has the types, and for each the options that go to the file system.
var volumeData = []struct {
	kind  string
	names []string
}{
	{"ext4", []string{"discard", "errors", "commit", "data", "noload"}},
	{"squashfs", nil},
	{"erofs", nil},
	{"tmpfs", []string{"size", "mode", "uid", "gid", "nr_inodes"}},
	{"virtiofs", []string{"dax"}},
	{"9p", []string{"trans", "version", "msize", "cache", "access", "aname"}},
	{bind, nil},
}

// volumeAttributes has the options that every type takes.
var volumeAttributes = []struct {
	name      string
	attribute int
}{
	{"ro", unix.MOUNT_ATTR_RDONLY}, {"rw", 0},
	{"nosuid", unix.MOUNT_ATTR_NOSUID}, {"nodev", unix.MOUNT_ATTR_NODEV},
	{"noexec", unix.MOUNT_ATTR_NOEXEC}, {"noatime", unix.MOUNT_ATTR_NOATIME},
}

// ownOptions are those that vm-init itself carries out.
var ownOptions = [...]string{"required", "grow", "format=empty"}

// kernelPlaces are, beside /proc and /sys, the mounts without which the machine does not work. No
// volume hides them.
var kernelPlaces = []string{"/dev", "/run"}

// onDevice reports whether the volume lies on a block device.
func (v *Volume) onDevice() bool {
	return v.Kind == "ext4" || v.Kind == "squashfs" || v.Kind == "erofs"
}

func (v *Volume) readOnly() bool { return v.attributes&unix.MOUNT_ATTR_RDONLY != 0 }

// volumeTarget returns TARGET of a volume's text, or "".
func volumeTarget(text string) string {
	_, rest := cutSource(text)
	target, _, _ := cutAt(rest, ':')
	return target
}

// cutSource cuts a volume's text before its target, at the first colon before a slash.
func cutSource(text string) (source, rest string) {
	for i := 0; i+1 < len(text); i++ {
		if text[i] == ':' && text[i+1] == '/' {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// parseVolume parses SOURCE:TARGET:TYPE[:OPTIONS].
func parseVolume(text string) (*Volume, error) {
	v, rest := &Volume{}, ""
	v.Source, rest = cutSource(text)
	v.Target, rest, _ = cutAt(rest, ':')
	v.Kind, v.Options, _ = cutAt(rest, ':')
	if v.Source == "" || v.Target == "" || v.Kind == "" {
		return v, valueError("not SOURCE:TARGET:TYPE[:OPTIONS], such as /dev/vdc:/data:ext4")
	}
	if err := checkTarget(v.Target); err != nil {
		return v, err
	}
	var names []string
	known := false
	for i := range volumeData {
		if volumeData[i].kind == v.Kind {
			known, names = true, volumeData[i].names
		}
	}
	if !known {
		return v, valueError("unknown type " + v.Kind)
	}
	for rest, more := v.Options, v.Options != ""; more; {
		var option string
		option, rest, more = cutAt(rest, ',')
		if err := v.option(option, names); err != nil {
			return v, err
		}
	}
	if v.Kind == "squashfs" || v.Kind == "erofs" {
		v.attributes |= unix.MOUNT_ATTR_RDONLY
	}
	if v.Kind == "9p" && !v.has("trans") {
		v.data = append(v.data, [2]string{"trans", "virtio"})
	}
	if v.Kind == "9p" && !v.has("version") {
		v.data = append(v.data, [2]string{"version", "9p2000.L"})
	}
	return v, v.check()
}

// option takes one word of OPTIONS. names are those of the volume's type.
func (v *Volume) option(word string, names []string) error {
	for i := range volumeAttributes {
		if a := &volumeAttributes[i]; word == a.name {
			v.attributes |= a.attribute
			return nil
		}
	}
	for i, own := range [...]*bool{&v.required, &v.grow, &v.format} {
		if word == ownOptions[i] {
			*own = true
			return nil
		}
	}
	name, value, _ := cutAt(word, '=')
	for _, known := range names {
		if name == known {
			v.data = append(v.data, [2]string{name, value})
			return nil
		}
	}
	return valueError("unknown option \"" + word + "\" of type " + v.Kind)
}

// has reports whether an option of the file system is set.
func (v *Volume) has(name string) bool {
	for i := range v.data {
		if v.data[i][0] == name {
			return true
		}
	}
	return false
}

// check checks the source, and options against each other.
func (v *Volume) check() error {
	by, text := searchKey(v.Source)
	device := v.onDevice()
	named := by == byUUID || by == byLabel
	switch {
	case v.Kind == bind && v.Source[0] != '/':
		return valueError("SOURCE is not the absolute path to bind")
	case device && by == "" && (len(v.Source) < 2 || v.Source[0] != '/'):
		return valueError("SOURCE is not the path of a device, serial:, uuid: or label:")
	case device && by != "" && text == "":
		return valueError("SOURCE has nothing after " + by)
	case v.Kind == "squashfs" && named:
		return valueError("a squashfs has no uuid and no label; use its serial or device")
	case by == byUUID && device && parseUUID(text) == "":
		return valueError(text + " is not a uuid")
	case (v.grow || v.format) && (v.Kind != "ext4" || v.readOnly()):
		return valueError("grow and format=empty need a writable ext4")
	case v.format && named:
		return valueError("an empty device has no uuid and no label; use its serial or device")
	}
	for _, d := range v.data {
		if v.Kind == "tmpfs" && d[0] == "size" {
			var size string
			return setSize(&size, d[1])
		}
	}
	return nil
}

const notBelow = "TARGET is not an absolute path below / without . and .."

// checkTarget accepts an absolute path that is not one of the machine's own.
func checkTarget(target string) error {
	for rest, more := target[1:], true; more; {
		var name string
		name, rest, more = cutAt(rest, '/')
		if name == "" || name == "." || name == ".." {
			return valueError(notBelow)
		}
	}
	own := contains("/proc", target) || contains("/sys", target)
	for _, place := range kernelPlaces {
		own = own || target == place
	}
	if own {
		return valueError("TARGET belongs to the machine itself")
	}
	return nil
}

// contains reports whether path is dir or below it.
func contains(dir, path string) bool {
	return len(path) >= len(dir) && path[:len(dir)] == dir && (len(path) == len(dir) || path[len(dir)] == '/')
}

// needs reports whether w must be mounted before v: it holds v's target or what v binds.
func (v *Volume) needs(w *Volume) bool {
	return contains(w.Target, v.Target) || v.Kind == bind && contains(w.Target, v.Source)
}

// inOrder returns the volumes as they are to be mounted: as they were given, but each after those
// it needs.
func inOrder(volumes []*Volume) []*Volume {
	ordered := append([]*Volume(nil), volumes...)
	for done := range ordered {
		next := done // two that bind each other's contents keep their order
		for i := done; i < len(ordered); i++ {
			if !ordered[i].needsAny(ordered[done:]) {
				next = i
				break
			}
		}
		v := ordered[next]
		copy(ordered[done+1:], ordered[done:next])
		ordered[done] = v
	}
	return ordered
}

func (v *Volume) needsAny(others []*Volume) bool {
	for _, w := range others {
		if w != v && v.needs(w) {
			return true
		}
	}
	return false
}

// setVolume adds a volume, or replaces the one at its target.
func setVolume(volumes *[]*Volume, text string) error {
	v, err := parseVolume(text)
	if err != nil {
		return err
	}
	for i, other := range *volumes {
		if other.Target == v.Target {
			(*volumes)[i] = v
			return nil
		}
	}
	if len(*volumes) == maxVolumes {
		return valueError("more than " + strconv.Itoa(maxVolumes) + " volumes")
	}
	*volumes = append(*volumes, v)
	return nil
}
