//go:build linux

package sysinit

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// devices splits a list of devices.
func devices(list string) (names []string) {
	for begin, i := 0, 0; i <= len(list); i++ {
		if i == len(list) || list[i] == ',' {
			names = append(names, list[begin:i])
			begin = i + 1
		}
	}
	return names
}

// layerDir returns the directory of the working mount for a layer, 0 for the lowest.
func layerDir(layer int) string {
	if layer == 0 {
		return "rom"
	}
	return "rom" + strconv.Itoa(layer)
}

// mountBase mounts the layers of the image read-only. If one is already mounted as the present
// root, the kernel mounts the same file system once more.
func mountBase(m *machine) error {
	mark := newImageMark()
	for layer, name := range devices(m.cfg.Base) {
		dir := layerDir(layer)
		at, err := m.find(name)
		if err != nil {
			return err
		}
		if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
			return fault("mkdir", dir, "", err, "")
		}
		kind := mark.add(at)
		if kind != "erofs" {
			kind = m.kinds.base
		}
		if err := unix.Mount(at, dir, kind, unix.MS_RDONLY, ""); err != nil {
			hint := why(at, kind, false, err)
			if hint == holdsOther("ext4", kind) {
				hint += "; --root=rw makes an ext4 the root"
			}
			return fault("mount", name, dir, err, hint)
		}
	}
	m.layers = len(devices(m.cfg.Base))
	m.image = mark.sum()
	return nil
}

// mountDisk mounts the overlay disk. The mount replays the journal of a machine that was cut off.
func mountDisk(m *machine) error { return m.mountWritable(m.cfg.Overlay) }

// mountRoot mounts the disk that is the root itself, and clones the mount, because the first goes
// with the working mount.
func mountRoot(m *machine) error {
	if err := m.mountWritable(m.cfg.Base); err != nil {
		return err
	}
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	fd, err := unix.OpenTree(unix.AT_FDCWD, "rw", flags)
	if err != nil {
		return fault("clone the mount of", m.cfg.Base, "", err, "")
	}
	m.overlay = fd
	return nil
}

// mountWritable mounts a disk on rw, and opens it for the check that it is clean in the end.
func (m *machine) mountWritable(name string) error {
	at, err := m.find(name)
	if err != nil {
		return err
	}
	err = unix.Mount(at, "rw", m.kinds.disk, unix.MS_NOATIME, "")
	if err == unix.EBUSY && m.isRoot(name) {
		// The kernel has mounted it read-only as its root. Then it can only be mounted
		// like that.
		if err = unix.Mount("", "/", "", unix.MS_REMOUNT, ""); err == nil {
			err = unix.Mount(at, "rw", m.kinds.disk, unix.MS_NOATIME, "")
		}
	}
	if err != nil {
		return fault("mount", name, "rw", err, why(at, m.kinds.disk, true, err))
	}
	m.root.disk, err = unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.root.disk = -1
		return fault("open", name, "", err, "")
	}
	return nil
}

// isRoot reports whether the device of that name holds the present root.
func (m *machine) isRoot(name string) bool {
	var st unix.Stat_t
	if unix.Stat("/", &st) != nil {
		return false
	}
	for _, d := range m.drives {
		if d.path == name {
			return d.number == st.Dev
		}
	}
	return false
}

// pinUpper opens the only way to the overlay disk once its mount is detached: see Root. The
// descriptor is not O_PATH, because the shutdown may have to freeze the file system with an ioctl.
func pinUpper(m *machine) error {
	fd, err := unix.Open("rw", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", "rw", "", err, "")
	}
	m.root.upper = fd
	return nil
}

// diskMark is the extended attribute of the overlay disk's root that names the image it was used
// with. It has eight bytes, all zero once the disk was used with a second image.
//
// A changed file of the image is on the disk with its inode number in the image
// (trusted.overlay.origin). With redirect_dir=on overlayfs relies on that number. In another
// image it is another file's, which would be read and written instead. With redirect_dir=follow
// overlayfs does not rely on it, so that layers may change (ovl_allow_offline_changes in the
// kernel's source).
const diskMark = "trusted.wick.image"

// imageMark is a hash (FNV-1a) of the superblocks of an image's layers, which hold their time,
// their size and the places of their tables.
type imageMark struct {
	hash   uint64
	failed bool
}

func newImageMark() imageMark { return imageMark{hash: 14695981039346656037} }

// add adds the superblock of a layer, and returns the layer's kind if it is known.
func (m *imageMark) add(path string) (kind string) {
	const squashfsSize, erofsOffset, erofsSize = 96, 1024, 128
	var head [erofsOffset + erofsSize]byte
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.failed = true
		return ""
	}
	n, err := unix.Pread(fd, head[:], 0)
	unix.Close(fd)
	if err != nil || n != len(head) {
		m.failed = true
		return ""
	}
	var c content
	c.read(head[:])
	super := head[:squashfsSize]
	if c.kind == "erofs" {
		super = head[erofsOffset:]
	}
	for _, b := range super {
		m.hash = (m.hash ^ uint64(b)) * 1099511628211
	}
	return c.kind
}

// sum returns the mark. It is zero if a superblock could not be read.
func (m *imageMark) sum() (mark [8]byte) {
	if !m.failed {
		for i := range mark {
			mark[i] = byte(m.hash >> (8 * i))
		}
	}
	return mark
}

// compareImage allows renames of the image's directories if the disk was used with no other image.
func compareImage(m *machine) error {
	var none, mark [8]byte
	n, err := unix.Getxattr("rw", diskMark, mark[:])
	fresh := err == unix.ENODATA && isEmpty("rw/upper")
	if fresh {
		mark = m.image
	}
	m.redirect = (fresh || err == nil && n == len(mark)) && mark == m.image && mark != none
	if !m.redirect {
		mark = none // for good: files copied up from now on have this image's inode numbers
	}
	if fresh || !m.redirect {
		if err := unix.Setxattr("rw", diskMark, mark[:], 0); err != nil {
			m.redirect = false
			return fault("mark", m.cfg.Overlay, "", err, "")
		}
	}
	if !m.redirect {
		return fault("compare", m.cfg.Overlay, "", nil,
			"it was used with another image: no directory of the image can be renamed")
	}
	return nil
}

// isEmpty reports whether path is an empty directory.
func isEmpty(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	var entries [512]byte
	n, err := unix.ReadDirent(fd, entries[:])
	unix.Close(fd)
	return err == nil && n <= 2*24 // itself and its parent
}

// overlayOptions lists the options of the overlay, in order. filesystems/overlayfs.rst in the
// kernel's documentation explains them.
var overlayOptions = [][2]string{
	{"lowerdir", "rom"}, {"upperdir", "rw/upper"}, {"workdir", "rw/work"},
	// Without it rename(2) of a directory of the image fails with EXDEV, which breaks package
	// managers. It is a mark in the upper directory, to which no other program can write. It is
	// "follow" on a disk that was used with another image: see diskMark.
	{"redirect_dir", "on"},
	// These are off whatever the kernel's defaults are. An index would refuse the disk once
	// the image was rebuilt (ESTALE). Metacopy leaves files on the disk that are useless
	// without this very image. Xino makes 64-bit inode numbers, which 32-bit programs cannot
	// take (EOVERFLOW).
	{"index", "off"}, {"metacopy", "off"}, {"xino", "off"},
}

// lowerDirs returns the directories of the layers as overlayfs wants them, the highest first.
func lowerDirs(layers int) string {
	dirs := layerDir(layers - 1)
	for layer := layers - 2; layer >= 0; layer-- {
		dirs += ":" + layerDir(layer)
	}
	return dirs
}

func overlayText(layers int) string {
	s := ""
	for _, o := range overlayOptions {
		if o[0] == "lowerdir" {
			o[1] = lowerDirs(layers)
		}
		s += o[0] + "=" + o[1] + ","
	}
	return s + "noatime"
}

func mountOverlay(m *machine) error {
	kind := m.kinds.overlay
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fault("mount", "overlay", "", err, lacks(err, kind))
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", "overlay"); err != nil {
		return fault("set", "overlay source", "", err, complaint(fs))
	}
	for _, o := range overlayOptions {
		switch {
		case o[0] == "redirect_dir" && !m.redirect:
			o[1] = "follow"
		case o[0] == "lowerdir":
			o[1] = lowerDirs(m.layers)
		}
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fault("set", "overlay "+o[0]+"="+o[1], "", err, complaint(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fault("mount", "overlay", "", err, complaint(fs))
	}
	// Overlayfs does not inherit noatime from its upper mount, and then every read of a file in
	// upper would write.
	m.overlay, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		m.overlay = -1
		return fault("mount", "overlay", "", err, "")
	}
	// If overlayfs cannot set up its work directory, it comes up read-only and reports that
	// only in the kernel's log. The most common reason is a full disk.
	var st unix.Statfs_t
	if err := unix.Fstatfs(m.overlay, &st); err != nil {
		return fault("statfs", "overlay", "", err, "")
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fault("mount", "overlay", "", unix.EROFS, "it came up read-only: "+m.noRoom())
	}
	return nil
}

// noRoom says what may keep overlayfs from writing to its upper file system.
func (m *machine) noRoom() string {
	var st unix.Statfs_t
	switch err := unix.Statfs("rw", &st); {
	case err != nil:
		return "statfs of the upper file system: " + err.Error()
	case st.Flags&unix.ST_RDONLY != 0:
		return m.cfg.Overlay + " is mounted read-only"
	case st.Bavail == 0: // not Bfree: ext4 keeps some blocks even from root
		return m.cfg.Overlay + " is full"
	case st.Ffree == 0:
		return m.cfg.Overlay + " has no free inode"
	}
	return "see the kernel's log"
}
