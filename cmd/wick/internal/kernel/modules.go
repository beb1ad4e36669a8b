package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// needed are the modules that a machine needs to reach vm-init: its devices, its file systems and
// vsock. tcp_diag tells the agent which ports listen. ext4 is built in. vsock_loopback is left out,
// because a process of the guest could connect to the agent through it.
var needed = []string{
	"virtio_mmio", "virtio_blk", "squashfs", "overlay", "vmw_vsock_virtio_transport", "tcp_diag",
}

// ModuleError reports a module that is neither there nor built in.
type ModuleError struct {
	Module string
	Wanted string // the module that depends on it, or ""
	Dir    string
}

func (e *ModuleError) Error() string {
	s := "find the kernel module " + e.Module
	if e.Wanted != "" {
		s += " (for " + e.Wanted + ")"
	}
	return s + ": not in " + e.Dir
}

// order returns the files of the modules and of all their dependencies, each after its
// dependencies. It leaves out those that are built in.
//
// The dependencies are read from the modules themselves, as depmod does. Its modules.dep does not
// exist, because it is made when a kernel is installed, and depmod may not be on the host.
func order(dir string, names ...string) ([]string, error) {
	t := tree{dir: dir, files: map[string]string{}, done: map[string]bool{}}
	if err := t.scan(); err != nil {
		return nil, fmt.Errorf("look through the kernel's modules: %w", err)
	}
	for _, name := range names {
		if err := t.visit(name, ""); err != nil {
			return nil, err
		}
	}
	return t.order, nil
}

type tree struct {
	dir   string
	files map[string]string // by module name; "" if built in
	done  map[string]bool
	order []string
}

// module returns a module's name from its file's. The two differ in hyphens.
func module(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

func (t *tree) scan() error {
	builtin, err := os.ReadFile(filepath.Join(t.dir, "modules.builtin"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(builtin)) {
		t.files[module(strings.TrimSpace(line))] = ""
	}
	return filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko") {
			t.files[module(path)] = path
		}
		return err
	})
}

func (t *tree) visit(name, wanted string) error {
	if t.done[name] {
		return nil
	}
	t.done[name] = true
	path, ok := t.files[name]
	switch {
	case !ok:
		return &ModuleError{name, wanted, t.dir}
	case path == "":
		return nil
	}
	depends, before, err := dependencies(path)
	if err != nil {
		return fmt.Errorf("read the kernel module %s: %w", name, err)
	}
	for _, d := range before {
		// It may name an algorithm, such as crc32c, and then need not be a module.
		for _, candidate := range []string{d, d + "_generic"} {
			if _, ok := t.files[candidate]; ok {
				depends = append(depends, candidate)
				break
			}
		}
	}
	for _, d := range depends {
		if err := t.visit(d, name); err != nil {
			return err
		}
	}
	t.order = append(t.order, path)
	return nil
}

// dependencies reads "depends=a,b" and "softdep=pre: a b" from the section .modinfo.
func dependencies(path string) (depends, before []string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil, fmt.Errorf("%s: no section .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, err
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		name, list, _ := strings.Cut(string(entry), "=")
		switch name {
		case "depends":
			depends = append(depends, names(list, ",")...)
		case "softdep":
			if list, ok := strings.CutPrefix(list, "pre:"); ok {
				list, _, _ = strings.Cut(list, "post:")
				before = append(before, names(list, " ")...)
			}
		}
	}
	return depends, before, nil
}

// names returns the names of modules in a list.
func names(list, separator string) (all []string) {
	for name := range strings.SplitSeq(list, separator) {
		if name != "" {
			all = append(all, module(name))
		}
	}
	return all
}
