package main

import (
	"time"

	"wick/reactor/agent"
	"wick/sysinit"
)

// hardware does what a host asks for beside commands and files. Each function runs in a child
// process, whose descriptor 0 is the disk that takes the root's writes.
var hardware = agent.Hardware{
	Mount: func(volume string, wait time.Duration) (bool, error) {
		return sysinit.Attach(volume, wait, 0)
	},
	Unmount: sysinit.Detach,
	Trim:    func(path string) (uint64, error) { return sysinit.Trim(path, 0) },
	Grow:    func(path string) (uint64, error) { return sysinit.Grow(path, 0) },
	Disks:   func() [][2]string { return sysinit.Disks(0) },
	Online:  sysinit.OnlineProcessors,
}
