//go:build linux

package sysinit

import "golang.org/x/sys/unix"

// onlineMemory has the kernel use memory that is added, and what has been added before. The kernel
// chooses the zone ("online"). Memory in the movable zone could be removed again. But with much of
// it a small machine would have too little for the kernel's own data.
func onlineMemory(*machine) error {
	const dir = "/sys/devices/system/memory"
	const file = dir + "/auto_online_blocks"
	text, err := readSmall(file)
	if err != nil || trim(string(text)) != "offline" || isContainer() {
		return nil //nolint:nilerr // the kernel cannot add memory
	}
	if err := put(file, "online"); err != nil {
		return fault("write", file, "", err, "")
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", dir, "", err, "")
	}
	names := list(fd)
	unix.Close(fd)
	for _, name := range names {
		state := dir + "/" + name + "/state"
		if text, err := readSmall(state); err != nil || trim(string(text)) != "offline" {
			continue
		}
		if bad := put(state, "online"); bad != nil && err == nil {
			err = fault("write", state, "", bad, "")
		}
	}
	return err
}

// OnlineProcessors has the kernel use every processor that is there. On a machine that was started
// with maxcpus= or nosmt it does nothing. A processor that fails takes up to ten seconds, so once a
// host is served, a child process calls it.
func OnlineProcessors() (err error) {
	const dir = "/sys/devices/system/cpu"
	present, bad := readSmall(dir + "/present")
	online, worse := readSmall(dir + "/online")
	if bad != nil || worse != nil || string(present) == string(online) || isContainer() {
		return nil //nolint:nilerr // the kernel has one processor, or cannot add any
	}
	for words := string(readAll("/proc/cmdline")); words != ""; {
		var word string
		word, words, _ = cutAt(words, ' ')
		name, _, _ := cut(trim(word))
		if name == "maxcpus" || name == "nosmt" || name == "nosmp" {
			return nil
		}
	}
	fd, bad := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if bad != nil {
		return fault("open", dir, "", bad, "")
	}
	names := list(fd)
	unix.Close(fd)
	for _, name := range names {
		file := dir + "/" + name + "/online"
		if text, bad := readSmall(file); bad != nil || trim(string(text)) != "0" {
			continue
		}
		if bad := put(file, "1"); bad != nil && err == nil {
			err = fault("write", file, "", bad, "")
		}
	}
	return err
}
