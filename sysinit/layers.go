//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// mountBase mounts the image read-only. If it is already mounted as the present root, the kernel
// mounts the same file system once more.
func mountBase(m *machine) error {
	at, err := m.find(m.cfg.Base)
	if err != nil {
		return err
	}
	if err := unix.Mount(at, "rom", m.kinds.base, unix.MS_RDONLY, ""); err != nil {
		return fault("mount", m.cfg.Base, "rom", err, why(at, m.kinds.base, false, err))
	}
	m.image = imageMark(at)
	return nil
}

// mountDisk mounts the overlay disk. The mount replays the journal of a machine that was cut off.
func mountDisk(m *machine) error {
	at, err := m.find(m.cfg.Overlay)
	if err != nil {
		return err
	}
	if err := unix.Mount(at, "rw", m.kinds.disk, unix.MS_NOATIME, ""); err != nil {
		return fault("mount", m.cfg.Overlay, "rw", err, why(at, m.kinds.disk, true, err))
	}
	m.root.disk, err = unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.root.disk = -1
		return fault("open", m.cfg.Overlay, "", err, "")
	}
	return nil
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
// (trusted.overlay.origin). With redirect_dir=on overlayfs relies on that number. In another image
// it is another file's, which would be read and written instead. With redirect_dir=follow overlayfs
// does not rely on it, so that layers may change (ovl_allow_offline_changes in the kernel's
// source).
const diskMark = "trusted.wick.image"

// imageMark returns a hash (FNV-1a) of the image's superblock, which holds its time, its size and
// the places of its tables. The hash is zero if the superblock cannot be read.
func imageMark(path string) (mark [8]byte) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return mark
	}
	var super [96]byte
	n, err := unix.Pread(fd, super[:], 0)
	unix.Close(fd)
	if err != nil || n != len(super) {
		return mark
	}
	hash := uint64(14695981039346656037)
	for _, b := range super {
		hash = (hash ^ uint64(b)) * 1099511628211
	}
	for i := range mark {
		mark[i] = byte(hash >> (8 * i))
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
	// These are off whatever the kernel's defaults are. An index would refuse the disk once the
	// image was rebuilt (ESTALE). Metacopy leaves files on the disk that are useless without this
	// very image. Xino makes 64-bit inode numbers, which 32-bit programs cannot take (EOVERFLOW).
	{"index", "off"}, {"metacopy", "off"}, {"xino", "off"},
}

func overlayText() string {
	s := ""
	for _, o := range overlayOptions {
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
		if o[0] == "redirect_dir" && !m.redirect {
			o[1] = "follow"
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
	// If overlayfs cannot set up its work directory, it comes up read-only and reports that only in
	// the kernel's log. The most common reason is a full disk.
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
