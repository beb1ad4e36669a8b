package main_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
)

// emulators has the programs of QEMU's user mode, which run a binary of another architecture on
// this kernel.
var emulators = map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}

// arch returns the architecture of the agent to check: $WICK_ARCH, or the host's.
func arch() string { return cmp.Or(os.Getenv("WICK_ARCH"), runtime.GOARCH) }

func emulated() bool { return arch() != runtime.GOARCH }

var errNoEmulator = errors.New("cannot run the agent for another architecture (as root: apt-get install qemu-user)")

// emulate writes a script that runs the program at path in the emulator. It returns the path of the
// script, which everything else can execute like the program.
func emulate(path string) (string, error) {
	emulator, err := exec.LookPath(emulators[arch()])
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoEmulator, err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", emulator, path)
	return path + ".sh", os.WriteFile(path+".sh", []byte(script), 0o755)
}

// These are the reasons why a case cannot run in qemu-user, up to version 7.2.
const (
	noCommands = "no command starts: clone(2) with CLONE_PIDFD is EINVAL in qemu-user"
	noOpenat2  = "no path that is safe, or is changed: openat2(2) is ENOSYS in qemu-user"
	noEntropy  = "no restore: ioctl(2) with RNDADDENTROPY is ENOSYS in qemu-user"
	noSockDiag = "no list of ports: a socket of NETLINK_SOCK_DIAG is EPROTONOSUPPORT in qemu-user"
)

// notEmulated has the cases that cannot run in QEMU's user mode, with the reason. name matches a
// case's file and name, and step matches one of its steps. The tests that boot a guest check these
// cases on a kernel of the architecture.
var notEmulated = []struct {
	name, step *regexp.Regexp
	reason     string
}{
	{step: regexp.MustCompile(`> .*\b(exec|spawn_watch|start|run) seq`), reason: noCommands},
	{name: regexp.MustCompile(`^frame.txt integers are big-endian$`), reason: noCommands}, // its exec is in bytes
	{name: regexp.MustCompile(`^write_file_sudo.txt (another agent|a sudo that (reads|does not)|a process that sudo)`), reason: noCommands},
	{step: regexp.MustCompile(`> change seq`), reason: noOpenat2},
	{name: regexp.MustCompile(`^file_read.txt (a symbolic link is followed|the data parts of a file$)`), reason: noOpenat2},
	{name: regexp.MustCompile(`^file_stat.txt no link is followed$`), reason: noOpenat2},
	{name: regexp.MustCompile(`^file_list.txt extended attributes$`), reason: noOpenat2},
	{name: regexp.MustCompile(`^watch.txt (credit|mounts below|limits)$`), reason: noOpenat2},
	{name: regexp.MustCompile(`^file_write.txt (files that are not replaced|parents|a file keeps what it was)$`), reason: noOpenat2},
	{name: regexp.MustCompile(`^machine.txt a restore`), reason: noEntropy},
	{step: regexp.MustCompile(`> ports seq`), reason: noSockDiag},
	{name: regexp.MustCompile(`^hello.txt facts$`), reason: "uname(2) has the emulator's machine, and the host's uname another"},
	{step: regexp.MustCompile(`^(wait )?peak `), reason: "VmHWM is the emulator's"},
	{step: regexp.MustCompile(`^(wait )?descriptors `), reason: "/proc/PID/fd has the emulator's descriptors too"},
}

// notEmulated returns why the case cannot run against an emulated agent, or "" if it can.
func (c *conformanceCase) notEmulated() string {
	for _, n := range notEmulated {
		if n.name != nil && n.name.MatchString(c.file+" "+c.name) {
			return n.reason
		}
		for _, s := range c.steps {
			if n.step != nil && n.step.MatchString(s.text) {
				return n.reason
			}
		}
	}
	return ""
}
