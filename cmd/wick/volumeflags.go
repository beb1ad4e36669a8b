//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/units"
	"wick/cmd/wick/internal/vmm"
)

// volumeFlags has the flags of wick run for what the guest mounts, and for further drives.
type volumeFlags struct {
	volumes, mounts, disks, drives, outs []string
	tmpfs                                tmpfsValue

	wanted []volume
	own    []string // paths of volumes without a source, which are on the overlay disk
	puts   []machine.Put
	copies []out
	held   []*keeper.Disk
}

// volume is a volume, or a disk with a name that becomes one.
type volume struct {
	machine.Volume
	name string // of a disk, or ""
	mib  int    // its size, or 0
	bare bool   // it is not filled with what the image has at its target
}

// out is a file or a directory to copy out of the guest at the end.
type out struct{ guest, local string }

func (f *volumeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "share a directory: `HOST:GUEST[:ro|copy]`, or mount a disk: NAME:GUEST; may be repeated")
	flags.StringArrayVar(&f.mounts, "mount", nil, "mount `FIELD=VALUE,...`: type=bind|volume|tmpfs,src=,dst=,ro; may be repeated")
	flags.StringArrayVar(&f.disks, "disk", nil, "mount a disk that stays, made at first use: `NAME:GUEST[:SIZE][:ro]` (SIZE 4G); may be repeated")
	flags.Var(&f.tmpfs, "tmpfs", "mount a tmpfs at `PATH[:OPTIONS]`; without PATH, use memory instead of an overlay disk")
	flags.Lookup("tmpfs").NoOptDefVal = "true"
	flags.StringArrayVar(&f.drives, "drive", nil, "give the machine another disk, not mounted: `FILE[:ro][:serial=TEXT]`; may be repeated")
	flags.StringArrayVar(&f.outs, "out", nil, "copy a file or directory out before power-off: `GUEST:HOST`; may be repeated")
	for _, name := range []string{"mount", "disk"} {
		cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// tmpfsValue is the flag --tmpfs, which may have a value.
type tmpfsValue struct {
	overlay bool
	paths   []string
}

func (v *tmpfsValue) Set(s string) error {
	if on, err := strconv.ParseBool(s); err == nil {
		v.overlay = on
		return nil
	}
	if !strings.HasPrefix(s, "/") {
		return errors.New("want an absolute PATH[:OPTIONS]")
	}
	v.paths = append(v.paths, s)
	return nil
}

func (v *tmpfsValue) String() string { return "" }
func (v *tmpfsValue) Type() string   { return "bool" }

// check checks the flags, and adds to the options what they say.
func (f *volumeFlags) check(o *machine.Options) error {
	for _, kind := range []struct {
		flag   string
		values []string
		parse  func(string) error
	}{
		{"--volume", f.volumes, f.volume}, {"--mount", f.mounts, f.mount}, {"--disk", f.disks, f.disk},
		{"--tmpfs", f.tmpfs.paths, f.memory}, {"--out", f.outs, f.out},
		{"--drive", f.drives, func(s string) error { return addDrive(o, s) }},
	} {
		for _, value := range kind.values {
			if err := kind.parse(value); err != nil {
				return fmt.Errorf("%s %q: %w", kind.flag, value, err)
			}
		}
	}
	if f.tmpfs.overlay {
		o.Tmpfs = true
	}
	o.Puts = append(o.Puts, f.puts...)
	if n := len(f.wanted) + len(f.drives); n > machine.MaxVolumes {
		return fmt.Errorf("%d volumes and drives are given; a machine has at most %d", n, machine.MaxVolumes)
	}
	targets := map[string]bool{}
	names := map[string]bool{}
	words := 0
	for _, v := range f.wanted {
		if words += len(v.Target) + len(v.Options); words > machine.MaxVolumeWords {
			return fmt.Errorf("the paths of the volumes in the guest have more than %d bytes, and travel on the kernel command line", machine.MaxVolumeWords)
		}
		if targets[v.Target] {
			return fmt.Errorf("two volumes are to be mounted at %s", v.Target)
		}
		if v.name != "" && names[v.name] {
			return fmt.Errorf("disk %s: it can be mounted once in a machine", v.name)
		}
		targets[v.Target], names[v.name] = true, true
	}
	return nil
}

// want adds a volume.
func (f *volumeFlags) want(v volume) (err error) {
	if v.Target, err = checkTarget(v.Target); err == nil {
		f.wanted = append(f.wanted, v)
	}
	return err
}

// ownVolume adds a volume of the machine's own.
func (f *volumeFlags) ownVolume(s string) error {
	target, err := checkTarget(s)
	f.own = append(f.own, target)
	return err
}

// checkTarget returns a path in the guest where a volume may be mounted.
func checkTarget(s string) (string, error) {
	target := path.Clean(s)
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("the path in the guest must be absolute")
	case strings.ContainsAny(target, ": \t\n\"'\\"):
		return "", fmt.Errorf("the path in the guest cannot have blanks, colons or quotes")
	case target == "/":
		return "", fmt.Errorf("the root of the guest is its image; see --rootfs")
	}
	for _, own := range []string{"/proc", "/sys", "/dev"} {
		if target == own || strings.HasPrefix(target, own+"/") && own != "/dev" {
			return "", fmt.Errorf("%s belongs to the machine itself", target)
		}
	}
	return target, nil
}

// volume takes a value of -v, which is HOST:GUEST[:OPTIONS] or NAME:GUEST[:OPTIONS].
func (f *volumeFlags) volume(s string) error {
	source, rest, found := strings.Cut(s, ":")
	if !found && strings.HasPrefix(s, "/") {
		return f.ownVolume(s)
	}
	if !found || source == "" {
		return errors.New("want HOST:GUEST or NAME:GUEST")
	}
	target, options, _ := strings.Cut(rest, ":")
	v := volume{Volume: machine.Volume{Target: target}}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "ro":
			v.ReadOnly = true
		case "copy":
			v.Copy = true
		case "nocopy":
			v.bare = true
		case "", "rw", "z", "Z", "cached", "delegated", "consistent":
		default:
			return fmt.Errorf("option %q: want ro, rw or copy", option)
		}
	}
	if !strings.Contains(source, "/") && source != "." && source != ".." {
		v.name = source
		if err := keeper.CheckName(source); err != nil {
			return err
		}
		if v.Copy {
			return errors.New("copy is for a directory")
		}
		return f.want(v)
	}
	v.Dir = source
	return f.bind(v)
}

// bind adds a directory of the host. A file is copied, because only directories can be shared.
func (f *volumeFlags) bind(v volume) error {
	info, err := os.Stat(v.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		put, err := machine.ParsePut(v.Dir + ":" + v.Target)
		if err == nil {
			f.puts = append(f.puts, put)
		}
		return err
	}
	return f.want(v)
}

// disk takes a value of --disk, which is NAME:GUEST[:SIZE][:ro].
func (f *volumeFlags) disk(s string) error {
	words := strings.Split(s, ":")
	if len(words) < 2 {
		return errors.New("want NAME:GUEST[:SIZE][:ro]")
	}
	v := volume{name: words[0], Volume: machine.Volume{Target: words[1]}}
	if err := keeper.CheckName(v.name); err != nil {
		return err
	}
	for _, word := range words[2:] {
		if word == "ro" {
			v.ReadOnly = true
			continue
		}
		if err := units.MiB(&v.mib, 1).Set(word); err != nil {
			return err
		}
	}
	return f.want(v)
}

// mount takes a value of --mount.
func (f *volumeFlags) mount(s string) error {
	v := volume{}
	kind, source := "volume", ""
	var options []string
	for field := range strings.SplitSeq(s, ",") {
		key, value, has := strings.Cut(field, "=")
		switch key {
		case "type":
			kind = value
		case "src", "source":
			source = value
		case "dst", "destination", "target":
			v.Target = value
		case "ro", "readonly":
			on, err := strconv.ParseBool(value)
			if has && err != nil {
				return fmt.Errorf("%s: want true or false", field)
			}
			v.ReadOnly = on || !has
		case "copy":
			v.Copy = true
		case "size":
			if err := units.MiB(&v.mib, 1).Set(value); err != nil {
				return fmt.Errorf("size: %w", err)
			}
		case "tmpfs-size", "tmpfs-mode":
			option, err := tmpfsOption(strings.TrimPrefix(key, "tmpfs-"), value)
			if err != nil {
				return err
			}
			options = append(options, option)
		case "volume-nocopy":
			on, err := strconv.ParseBool(value)
			if has && err != nil {
				return fmt.Errorf("%s: want true or false", field)
			}
			v.bare = on || !has
		case "consistency", "bind-propagation", "bind-recursive":
		default:
			return fmt.Errorf("field %q: want type, src, dst, ro, copy, size, tmpfs-size or tmpfs-mode", key)
		}
	}
	switch {
	case v.Target == "":
		return errors.New("dst is missing")
	case kind == "tmpfs" && source != "":
		return errors.New("a tmpfs has no src")
	case kind == "volume" && source == "" && v.mib == 0 && !v.ReadOnly:
		return f.ownVolume(v.Target)
	case kind != "tmpfs" && source == "":
		return errors.New("src is missing")
	case kind != "tmpfs" && options != nil:
		return errors.New("tmpfs-size and tmpfs-mode are for type=tmpfs")
	case kind != "volume" && v.mib != 0:
		return errors.New("size is for type=volume")
	case kind != "bind" && v.Copy:
		return errors.New("copy is for type=bind")
	}
	switch kind {
	case "bind":
		v.Dir = source
		return f.bind(v)
	case "volume":
		v.name = source
		if err := keeper.CheckName(source); err != nil {
			return err
		}
	case "tmpfs":
		v.Options = strings.Join(append(options, "nosuid", "nodev"), ",")
	default:
		return fmt.Errorf("type=%s: want bind, volume or tmpfs", kind)
	}
	return f.want(v)
}

// tmpfsOption returns a mount option of a tmpfs, whose size may have a unit in capital letters.
func tmpfsOption(key, value string) (string, error) {
	switch key {
	case "size":
		if strings.HasSuffix(value, "%") {
			return "size=" + value, nil
		}
		n, err := units.ParseSize(value, 1)
		if err != nil {
			return "", fmt.Errorf("size: %w", err)
		}
		return fmt.Sprintf("size=%d", n), nil
	case "mode":
		if _, err := strconv.ParseUint(value, 8, 12); err != nil {
			return "", fmt.Errorf("mode %q: want an octal number", value)
		}
	case "uid", "gid":
		if _, err := strconv.ParseUint(value, 10, 32); err != nil {
			return "", fmt.Errorf("%s %q: want a number", key, value)
		}
	}
	return key + "=" + value, nil
}

// memory takes a value of --tmpfs, which is PATH[:OPTIONS]. As in docker, no program is executed
// from it unless exec is given. The machine has a tmpfs at /run by itself.
func (f *volumeFlags) memory(s string) error {
	target, list, has := strings.Cut(s, ":")
	if clean := path.Clean(target); clean == "/run" && !has {
		return nil
	}
	v := volume{Volume: machine.Volume{Target: target}}
	options := []string{"nosuid", "nodev", "noexec"}
	for option := range strings.SplitSeq(list, ",") {
		key, value, valued := strings.Cut(option, "=")
		switch {
		case option == "" || option == "rw":
		case option == "ro":
			v.ReadOnly = true
		case option == "exec" || option == "suid" || option == "dev":
			options = slices.DeleteFunc(options, func(o string) bool { return o == "no"+option })
		case option == "noexec" || option == "nosuid" || option == "nodev":
		case option == "noatime":
			options = append(options, option)
		case valued && slices.Contains([]string{"size", "mode", "uid", "gid", "nr_inodes"}, key):
			text, err := tmpfsOption(key, value)
			if err != nil {
				return err
			}
			options = append(options, text)
		default:
			return fmt.Errorf("option %q: want size, mode, uid, gid, nr_inodes, ro, exec, suid, dev or noatime", option)
		}
	}
	v.Options = strings.Join(options, ",")
	return f.want(v)
}

// out takes a value of --out, which is GUEST:HOST.
func (f *volumeFlags) out(s string) error {
	guest, local, found := strings.Cut(s, ":")
	if !found || local == "" || !strings.HasPrefix(guest, "/") {
		return errors.New("want GUEST:HOST with an absolute path GUEST")
	}
	if _, err := os.Stat(local); err != nil {
		if _, err := os.Stat(path.Dir(strings.TrimRight(local, "/"))); err != nil {
			return err
		}
	}
	f.copies = append(f.copies, out{guest, local})
	return nil
}

// addDrive takes a value of --drive, which is FILE[:ro][:serial=TEXT].
func addDrive(o *machine.Options, s string) error {
	words := strings.Split(s, ":")
	d := vmm.Drive{Path: words[0], Durable: true}
	for _, word := range words[1:] {
		serial, isSerial := strings.CutPrefix(word, "serial=")
		switch {
		case word == "ro":
			d.ReadOnly = true
		case isSerial && serial != "" && len(serial) <= 20:
			d.Serial = serial
		default:
			return fmt.Errorf("%q: want ro, or serial=TEXT of at most 20 characters", word)
		}
	}
	info, err := os.Stat(d.Path)
	if err == nil && (info.IsDir() || info.Mode()&os.ModeCharDevice != 0) {
		err = fmt.Errorf("%s: not a file or a block device", d.Path)
	}
	how := os.O_RDWR
	if d.ReadOnly {
		how = os.O_RDONLY
	}
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(d.Path, how, 0); err == nil {
			f.Close()
		}
	}
	o.Drives = append(o.Drives, d)
	return err
}

// hold holds the disks that have names, makes those that are new, and completes the options.
func (f *volumeFlags) hold(ctx context.Context, o *machine.Options) error {
	for _, v := range f.wanted {
		if v.name != "" {
			store, err := keeper.Default()
			if err != nil {
				return err
			}
			d, err := store.OpenDisk(ctx, v.name, v.mib, v.ReadOnly)
			if errors.Is(err, keeper.ErrDiskBusy) {
				return fmt.Errorf("%w; wick list shows the machines", err)
			}
			if err != nil {
				return err
			}
			f.held = append(f.held, d)
			v.Disk = d.Path
		}
		o.Volumes = append(o.Volumes, v.Volume)
	}
	return nil
}

// close lets go of the disks.
func (f *volumeFlags) close() {
	for _, d := range f.held {
		d.Close()
	}
	f.held = nil
}
