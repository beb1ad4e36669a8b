package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/containerd/api/types"

	"wick/cmd/wick/machine"
)

// rootfs says what a container's root file system is made of.
type rootfs struct {
	mounts []*types.Mount
	dir    string // where the mounts belong, or the directory itself without mounts
}

// device returns the block device or image file of an ext4, which the machine gets as its disk, or
// "".
func (r *rootfs) device() string {
	if len(r.mounts) == 1 && r.mounts[0].Type == "ext4" {
		return r.mounts[0].Source
	}
	return ""
}

// layers returns the directories whose files identify the content. It is empty if all content must
// be read.
func (r *rootfs) layers() []string {
	layers := []string{}
	if len(r.mounts) != 1 || r.mounts[0].Type != "overlay" {
		return layers
	}
	for _, option := range r.mounts[0].Options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "lowerdir":
			// Such names are not taken apart, so all content is read.
			if strings.ContainsAny(value, `\`) || strings.Contains(value, "::") {
				return []string{}
			}
			layers = append(layers, strings.Split(value, ":")...)
		case "upperdir":
			if entries, err := os.ReadDir(value); err != nil || len(entries) > 0 {
				layers = append(layers, value)
			}
		}
	}
	return layers
}

// mount mounts the root file system at a directory, which it makes. Its layers may be mounted below
// another one.
func (r *rootfs) mount(target, layers string) error {
	if err := os.MkdirAll(target, 0o711); err != nil {
		return err
	}
	if len(r.mounts) == 0 {
		return bind(r.dir, target, false)
	}
	mounts := r.mounts
	if strings.HasPrefix(mounts[len(mounts)-1].Type, "format/") {
		top, err := r.mountLayers(layers)
		if err != nil {
			return fmt.Errorf("mount the root file system: %w", err)
		}
		mounts = []*types.Mount{top}
	}
	for _, m := range mounts {
		at := target
		if m.Target != "" {
			at = filepath.Join(target, filepath.Join("/", m.Target))
		}
		if err := mountOne(m, at); err != nil {
			return fmt.Errorf("mount the root file system: %w", err)
		}
	}
	return nil
}

func mountOne(m *types.Mount, target string) error {
	if m.Type == "bind" || slices.Contains(m.Options, "rbind") || slices.Contains(m.Options, "bind") {
		return bind(m.Source, target, slices.Contains(m.Options, "ro"))
	}
	if strings.Contains(m.Type, "/") {
		return refused("mount %s: type %s with options %s is not supported; use the overlayfs, native, "+
			"erofs, blockfile or devmapper snapshotter", m.Source, m.Type, strings.Join(m.Options, ","))
	}
	flags, data, err := parseMount(m.Options)
	if err != nil {
		return err
	}
	if i := slices.Index(data, "loop"); i >= 0 {
		err := mountFile(m.Source, target, m.Type, uintptr(flags), strings.Join(slices.Delete(data, i, i+1), ","))
		if err != nil {
			return &fs.PathError{Op: "mount the " + m.Type + " of", Path: m.Source, Err: err}
		}
		return nil
	}
	if err := unix.Mount(m.Source, target, m.Type, uintptr(flags), strings.Join(data, ",")); err != nil {
		return &fs.PathError{Op: "mount " + m.Type, Path: target, Err: err}
	}
	return nil
}

// bind shows source at target, which exists.
func bind(source, target string, readOnly bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &fs.PathError{Op: "bind " + source, Path: target, Err: err}
	}
	if !readOnly {
		return nil
	}
	// A file system that is nosuid or the like must stay so.
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: target, Err: err}
	}
	const kept = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME |
		unix.MS_RELATIME
	flags := uintptr(st.Flags)&kept | unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return &fs.PathError{Op: "make read-only", Path: target, Err: err}
	}
	return nil
}

// configure makes the root file system that of the machine. release is called when it has booted.
func (r *rootfs) configure(c *machine.Config, scratch string) (release func(), err error) {
	release = func() {}
	if device := r.device(); device != "" {
		c.DrivesOnly = true
		c.Drives = []machine.Drive{{Path: device, Serial: "root"}}
		c.InitArgs = append(c.InitArgs, "--root=rw")
		return release, nil
	}
	if images := r.images(); len(images) > 0 {
		c.Base = images
		return release, nil
	}
	c.RootfsLayers = r.layers()
	if len(r.mounts) == 0 {
		c.Rootfs = r.dir
		return release, nil
	}
	release = func() {
		unmountBelow(scratch)
		unmountBelow(scratch + "-layers")
		os.Remove(scratch)
	}
	if err := r.mount(scratch, scratch+"-layers"); err != nil {
		release()
		return func() {}, err
	}
	c.Rootfs = scratch
	return release, nil
}

// mountsBelow returns the mount points at a directory and below it, the last mounted first.
func mountsBelow(dir string) (list []string) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		// The fifth field is the mount point; proc_pid_mountinfo(5).
		fields := strings.Fields(in.Text())
		if len(fields) < 5 {
			continue
		}
		at := octal.Replace(fields[4])
		if at == dir || strings.HasPrefix(at, dir+"/") {
			list = append(list, at)
		}
	}
	slices.Reverse(list)
	return list
}

// octal undoes the escapes of mountinfo.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountBelow unmounts everything at a directory and below it.
func unmountBelow(dir string) {
	for _, at := range mountsBelow(dir) {
		if unix.Unmount(at, unix.UMOUNT_NOFOLLOW) != nil {
			unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
}

// removeTree removes a directory of the shim. It leaves one in which something is still mounted,
// because that would remove the content of the mount.
func removeTree(dir string) error {
	unmountBelow(dir)
	if left := mountsBelow(dir); len(left) > 0 {
		return fmt.Errorf("remove %s: %s is still mounted", dir, left[0])
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
