// Package sys calls the kernel for the agent where golang.org/x/sys/unix does not do: errors with an
// operation and an object, small texts, files of /proc, /sys and cgroups, directory entries, PSI
// triggers, clocks, entropy, pinned memory, and what packages os and runtime/debug would do for the
// Go runtime. Every unsafe call of the agent is in a file of this package named _unsafe.go.
//
// It knows nothing of hosts, commands or the loop, and imports nothing else of this module. All of
// it is for one goroutine.
package sys
