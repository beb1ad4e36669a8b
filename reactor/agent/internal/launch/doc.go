// Package launch starts processes, and has what every started process has: the account that it runs as
// ([FindAccount]), its environment and where its program is looked up ([Env]), its terminal, its cgroup and
// deadline ([Process]), and a table of those that run ([Table]). A [Job] is a child that does for the agent
// what takes as long as a disk does.
//
// It knows nothing of hosts and of what becomes of a process's output.
package launch
