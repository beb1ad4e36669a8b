package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/containerd/api/types"
)

// allowMounts are the types of mounts that containerd leaves to this runtime: those of the erofs
// snapshotter. An overlay of them names its layers by their places in the list of mounts.
const allowMounts = "erofs,format/overlay,format/mkdir/overlay"

// allowMountsAnnotation is where a runtime says so; core/runtime/v2/task_manager.go in containerd.
const allowMountsAnnotation = "containerd.io/runtime-allow-mounts"

// maxImages limits the layers that become drives. A machine has at most 16 drives. The overlay of
// what it writes is one.
const maxImages = 12

// images returns the EROFS images that the root consists of, the lowest first. It is empty if the
// root is anything else.
func (r *rootfs) images() (list []string) {
	mounts := r.mounts
	if len(mounts) > 1 {
		last := len(mounts) - 1
		top := mounts[last]
		lower, upper := option(top, "lowerdir"), option(top, "upperdir")
		want := "{{ mount 0 }}"
		if last > 1 {
			want = fmt.Sprintf("{{ overlay 0 %d }}", last-1)
		}
		if !strings.HasPrefix(top.Type, "format/") || lower != want {
			return nil
		}
		// The images lack what the container wrote before.
		if entries, err := os.ReadDir(upper); upper != "" && (err != nil || len(entries) > 0) {
			return nil
		}
		mounts = mounts[:last]
	}
	for _, m := range mounts {
		if m.Type != "erofs" || slices.ContainsFunc(m.Options, func(o string) bool { return o != "ro" && o != "loop" }) {
			return nil
		}
		list = append(list, m.Source)
	}
	if len(list) > maxImages {
		return nil
	}
	slices.Reverse(list) // the first mount is the highest layer
	return list
}

// option returns the value of a mount's option, or "".
func option(m *types.Mount, name string) string {
	for _, o := range m.Options {
		if key, value, _ := strings.Cut(o, "="); key == name {
			return value
		}
	}
	return ""
}

// mountLayers mounts all mounts but the last below a directory, and returns the last one with the
// directories of the others in its options.
func (r *rootfs) mountLayers(dir string) (*types.Mount, error) {
	last := len(r.mounts) - 1
	var points []string
	for i, m := range r.mounts[:last] {
		at := filepath.Join(dir, strconv.Itoa(i))
		err := os.MkdirAll(at, 0o700)
		if err == nil {
			err = mountOne(m, at)
		}
		if err != nil {
			return nil, err
		}
		points = append(points, at)
	}
	m := r.mounts[last]
	top := &types.Mount{Type: m.Type[strings.LastIndexByte(m.Type, '/')+1:], Source: m.Source}
	for _, o := range m.Options {
		name, value, _ := strings.Cut(o, "=")
		var from, to int
		switch n, _ := fmt.Sscanf(value, "{{ overlay %d %d }}", &from, &to); {
		case n == 2 && 0 <= from && from <= to && to < len(points):
			o = name + "=" + strings.Join(points[from:to+1], ":")
		case value == "{{ mount 0 }}":
			o = name + "=" + points[0]
		case strings.Contains(o, "{{"), strings.HasPrefix(o, "X-containerd."):
			return nil, refused("mount %s: the option %s is not supported", m.Source, o)
		}
		top.Options = append(top.Options, o)
	}
	return top, nil
}

// mountFile mounts the file system in a file. The kernel reads an EROFS from the file itself since
// Linux 6.12, and others by a loop device, which ends with the mount.
func mountFile(file, target, kind string, flags uintptr, data string) error {
	if kind == "erofs" {
		if err := unix.Mount(file, target, kind, flags, data); err != unix.ENOTBLK {
			return err
		}
	}
	device, err := loop(file, flags&unix.MS_RDONLY != 0)
	if err != nil {
		return err
	}
	defer device.Close()
	return unix.Mount(device.Name(), target, kind, flags, data)
}

// loop returns a loop device of a file. It ends when it is closed and no more mounted.
func loop(file string, readOnly bool) (*os.File, error) {
	mode := os.O_RDWR
	config := unix.LoopConfig{Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if readOnly {
		mode = os.O_RDONLY
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	back, err := os.OpenFile(file, mode, 0)
	if err != nil {
		return nil, err
	}
	defer back.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config.Fd = uint32(back.Fd())
	const tries = 100 // others take free devices too
	for range tries {
		var n int
		if n, err = unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
			return nil, os.NewSyscallError("find a loop device", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), mode, 0)
		if err != nil {
			return nil, err
		}
		switch err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err {
		case nil:
			return device, nil
		case unix.EBUSY:
			device.Close()
		default:
			device.Close()
			return nil, &fs.PathError{Op: "configure", Path: device.Name(), Err: err}
		}
	}
	return nil, os.NewSyscallError("find a loop device", unix.EBUSY)
}
