//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// Mount loads modules, changes settings, grows the disk of the root and mounts the volumes, in the
// steps that PlanVolumes returns.
// Up comes first. All devices together may take cfg.Wait to appear.
//
// The error is the *StepError of a volume that is required. A volume that was mounted before it
// stays mounted.
func (r *Root) Mount(cfg Config, report Report) error {
	m := newMachine(&cfg, r)
	m.nodes, m.deadline = r.nodes, uptime()+cfg.Wait
	for _, s := range PlanVolumes(cfg) {
		if err := m.do(s, report); err != nil && s.Required {
			return err
		}
	}
	return nil
}

// PlanVolumes returns the steps of Mount for cfg, in order.
func PlanVolumes(cfg Config) (plan []Step) {
	plan = planTuning(&cfg)
	disk := ""
	switch {
	case cfg.Grow && cfg.WritableRoot:
		disk = "root disk"
	case cfg.Grow && cfg.Overlay != Tmpfs:
		disk = "overlay disk"
	}
	if disk != "" {
		plan = add(plan, "grow "+disk, false, call{growText, growRoot})
	}
	for _, v := range inOrder(cfg.Volumes) {
		a := &attaching{Volume: v}
		plan = add(plan, "volume "+v.Target, v.required, a)
		if v.grow {
			plan = add(plan, "grow "+v.Target, false, growing{a})
		}
		if v.Kind == "ext4" && !v.readOnly() {
			plan = add(plan, "room on "+v.Target, false, room{a})
		}
	}
	for _, s := range cfg.Swaps {
		plan = add(plan, "swap "+s.Source, false, s)
	}
	return plan
}

const growText = "resize its ext4 to the device"

// attaching is a volume that is being mounted. It is the row that does so.
type attaching struct {
	*Volume
	at   string // the device
	done bool
}

func (a *attaching) String() string { return "mount " + a.Volume.String() }

// run finds the source, makes the target and mounts.
func (a *attaching) run(m *machine) error {
	source := a.Source
	if a.onDevice() {
		at, err := m.find(a.Source)
		if err != nil {
			return err
		}
		if at[0] != '/' {
			at = "/" + at
		}
		if m.root.device() == m.drives[len(m.drives)-1].number {
			return a.failed(unix.EBUSY, "it is the disk of the root")
		}
		a.at, source = at, at
	}
	if err := a.makeTarget(); err != nil {
		return err
	}
	fd, err := a.create(source)
	if e, ok := err.(*StepError); ok && e.Errno == unix.EINVAL && a.format && blank(source) {
		if err := makeExt4(source); err != nil {
			return err
		}
		fd, err = a.create(source)
	}
	if err != nil {
		return err
	}
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, a.Target,
		unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	unix.Close(fd)
	if err != nil {
		return a.failed(err, "")
	}
	a.done = true
	return nil
}

// makeTarget makes the target and its parents: a directory, or a file if a file is bound there.
func (a *attaching) makeTarget() error {
	var st unix.Stat_t
	if a.Kind == bind {
		if err := unix.Stat(a.Source, &st); err != nil {
			return fault("find", a.Source, "", err, "")
		}
	}
	makeParents(a.Target)
	err := unix.EEXIST
	switch {
	case exists(a.Target): // a directory of a read-only file system too
	case a.Kind == bind && st.Mode&unix.S_IFMT != unix.S_IFDIR:
		err = errno(unix.Mknod(a.Target, unix.S_IFREG|0o644, 0))
	default:
		err = errno(unix.Mkdir(a.Target, 0o755))
	}
	if err != 0 && err != unix.EEXIST {
		return fault("make", a.Target, "", err, "")
	}
	return nil
}

// create returns a mount of the volume that is not attached yet.
func (a *attaching) create(source string) (fd int, err error) {
	if a.Kind == bind {
		return a.clone()
	}
	fs, err := unix.Fsopen(a.Kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, a.failed(err, lacks(err, a.Kind))
	}
	fd, err = -1, a.configure(fs, source)
	if err == nil {
		if err = unix.FsconfigCreate(fs); err != nil {
			err = a.failed(err, a.reason(fs, err))
		} else if fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, a.attributes); err != nil {
			err = a.failed(err, "")
		}
	}
	unix.Close(fs)
	return fd, err
}

// configure sets the source and the options of a file system.
func (a *attaching) configure(fs int, source string) error {
	options := append([][2]string{{"source", source}}, a.data...)
	if a.readOnly() {
		options = append(options, [2]string{"ro", ""})
	}
	for _, o := range options {
		var err error
		text := o[0]
		if o[1] == "" {
			err = unix.FsconfigSetFlag(fs, o[0])
		} else {
			text += "=" + o[1]
			err = unix.FsconfigSetString(fs, o[0], o[1])
		}
		if err != nil {
			return fault("set", text, a.Target, err, complaint(fs))
		}
	}
	return nil
}

// failed returns the error of the mount.
func (a *attaching) failed(err error, hint string) error {
	return fault("mount", a.Source, a.Target, err, hint)
}

// reason returns the hint about a file system that cannot be mounted.
func (a *attaching) reason(fs int, err error) string {
	switch {
	case a.onDevice():
		return why(a.at, a.Kind, !a.readOnly(), err)
	case a.Kind == "virtiofs" && err == unix.EINVAL, a.Kind == "9p" && err == unix.ENOENT:
		return "no device has the tag " + a.Source
	}
	return complaint(fs)
}

// clone returns a copy of the mount at the source of a bind.
func (a *attaching) clone() (fd int, err error) {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if fd, err = unix.OpenTree(unix.AT_FDCWD, a.Source, flags); err != nil {
		return -1, fault("clone the mount of", a.Source, "", err, "")
	}
	attributes := unix.MountAttr{Attr_set: uint64(a.attributes)}
	if a.attributes&unix.MOUNT_ATTR_NOATIME != 0 {
		attributes.Attr_clr = unix.MOUNT_ATTR__ATIME // the kernel takes atime settings only whole
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		unix.Close(fd)
		return -1, a.failed(err, "")
	}
	return fd, nil
}

// room is the row that fails if a volume is full. It works, but nothing can be written to it.
type room struct{ *attaching }

func (room) String() string { return "look whether it is full" }

func (a room) run(*machine) error {
	var st unix.Statfs_t
	if a.done && unix.Statfs(a.Target, &st) == nil && (st.Bavail == 0 || st.Ffree == 0) {
		return fault("look at", a.Target, "", nil, "it is full")
	}
	return nil
}
