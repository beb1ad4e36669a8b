// Command vm-init is process 1 of a machine. It builds the root from a read-only image and a
// writable disk, serves the host like vsock-agent, reaps orphans, and shuts the machine down. See
// packages wick/sysinit and wick/reactor/agent.
package main

import (
	"syscall"

	"wick/reactor/agent"
	"wick/sysinit"
)

// version is set by the linker.
var version = "devel"

func main() { agent.Main(run, append(hardware.Jobs(), agent.LastJob)...) }

func run(args []string) {
	args = args[1:]
	if syscall.Getpid() != 1 {
		aside(args)
	}
	var m machine
	m.claimSignals()
	defer m.end()
	m.parse(args)
	if m.up() {
		m.serve()
	}
}

// aside runs the program if it is not process 1. It prints its usage or version, or checks a
// configuration.
func aside(args []string) {
	text, fd, code := usage(), 2, 2
	switch {
	case len(args) == 1 && args[0] == "--version":
		text, fd, code = "vm-init "+version+"\n", 1, 0
	case len(args) == 1 && args[0] == "--help":
		fd, code = 1, 0
	case len(args) == 2 && args[0] == "--check":
		text, code = check(args[1])
		fd = 1
	default:
		text = "vm-init: not process 1: it is started by the kernel, with init=/sbin/vm-init (--help says more)\n"
	}
	syscall.Write(fd, []byte(text))
	syscall.Exit(code)
}

// check says what is wrong with the options in a file, as on a configuration drive.
func check(path string) (text string, code int) {
	m := machine{cfg: sysinit.Default()}
	content, err := sysinit.ReadFile(path)
	if err != nil {
		return "vm-init: " + err.Error() + "\n", 1
	}
	m.settings = m.newSettings()
	errs := m.settings.Text(sysinit.FromDrive, path, content)
	for _, err := range append(errs, m.checkServices()...) {
		text += err.Error() + "\n"
		code = 1
	}
	return text, code
}
