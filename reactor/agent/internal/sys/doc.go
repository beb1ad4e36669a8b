// Package sys calls the kernel for the agent where golang.org/x/sys/unix is not enough. It has
// errors with an operation and an object, small texts, directory entries, PSI triggers, clocks,
// entropy and pinned memory. It reads files of /proc, /sys and cgroups. It replaces the parts of
// packages os and runtime/debug that the agent needs. Every unsafe call of the agent is in a file
// of this package whose name ends in _unsafe.go.
//
// It does not know of hosts, commands or the loop, and imports no other package of this module. It
// is for one goroutine.
package sys
