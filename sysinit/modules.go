//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// module is the name of a kernel module. It is loaded after those that it depends on.
type module string

// maxIndex limits an index of modules, in bytes. Debian's has half a MiB.
const maxIndex = 8 << 20

// compressed says that the kernel is to decompress a module (MODULE_INIT_COMPRESSED_FILE).
const compressed = 4

func (name module) String() string { return "load " + string(name) }

func (name module) run(*machine) error {
	if exists("/sys/module/" + moduleName(string(name))) {
		return nil // loaded, or built in
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fault("uname", "", "", err, "")
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(uts.Release[:]) + "/"
	index, err := readUpTo(dir+"modules.dep", maxIndex)
	if err != nil {
		return fault("read", dir+"modules.dep", "", err, "the image has no modules of this kernel")
	}
	line := dependencies(index, string(name))
	if line == "" {
		builtin, _ := readUpTo(dir+"modules.builtin", maxIndex)
		if dependencies(builtin, string(name)) != "" {
			return nil
		}
		return fault("find", string(name), "", unix.ENOENT, dir+"modules.dep does not name it")
	}
	// A module stands before those that it depends on.
	for end := len(line); end > 0; {
		begin := end
		for begin > 0 && line[begin-1] != ' ' {
			begin--
		}
		if path := line[begin:end]; path != "" {
			if path[0] != '/' {
				path = dir + path
			}
			if err := load(path); err != nil {
				return err
			}
		}
		end = begin - 1
	}
	return nil
}

// load loads a module. One that is loaded already is no error.
func load(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", path, "", err, "modules.dep names it")
	}
	defer unix.Close(fd)
	flags, hint := 0, ""
	if path[len(path)-1] != 'o' { // .ko.xz, .ko.zst, .ko.gz
		flags = compressed
	}
	err = unix.FinitModule(fd, "", flags)
	switch {
	case err == nil || err == unix.EEXIST:
		return nil
	case flags != 0 && (err == unix.EOPNOTSUPP || err == unix.EINVAL):
		hint = "the kernel cannot decompress it; the image needs it uncompressed"
	case err == unix.ENOEXEC:
		hint = "it is not for this kernel"
	case err == unix.ENOENT:
		hint = "it needs a symbol that the kernel lacks; the kernel's log has the name"
	case err == unix.ENOSYS:
		hint = "the kernel has no modules"
	}
	return fault("load", path, "", err, hint)
}

// dependencies returns the paths of a module and of those that it depends on, separated by blanks,
// from modules.dep or modules.builtin. It returns "" if the index does not have the module.
func dependencies(index []byte, name string) string {
	name = moduleName(name)
	for len(index) > 0 {
		var line []byte
		line, index = cutLine(index)
		path, begin := len(line), 0
		for i, c := range line {
			if c == ':' {
				path = i
				break
			}
			if c == '/' {
				begin = i + 1
			}
		}
		file := line[begin:path]
		for i := range file {
			if file[i] == '.' {
				file = file[:i]
				break
			}
		}
		if moduleName(string(file)) == name {
			text := string(line[:path])
			if path < len(line) {
				text += string(line[path+1:])
			}
			return text
		}
	}
	return ""
}

// moduleName returns the name that the kernel has for a module, whose file may have hyphens.
func moduleName(file string) string {
	name := []byte(file)
	for i, c := range name {
		if c == '-' {
			name[i] = '_'
		}
	}
	return string(name)
}

// setModules accepts names, separated by commas.
func setModules(to *[]string, v string) error {
	names := devices(v)
	for _, name := range names {
		for i := range len(name) {
			if !isNameByte(name[i]) && name[i] != '_' || name[i] == '.' {
				return valueError("not the names of modules, such as virtio_net,nf_tables")
			}
		}
		if name == "" {
			return valueError("not the names of modules, such as virtio_net,nf_tables")
		}
	}
	*to = names
	return nil
}
