// Package launch starts processes. It resolves the account that a process runs as ([FindAccount]),
// its environment and search path ([Env]), and its terminal. A [Process] has a cgroup and a
// deadline, and a [Table] lists the running ones. A [Job] is a child process that does slow disk
// work for the agent.
//
// The package knows nothing about hosts, nor about what happens to a process's output.
package launch
