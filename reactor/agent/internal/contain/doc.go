// Package contain confines commands. A [Pool] gives each command a cgroup, a [Box], so that the
// command can be limited, measured and killed as a whole. The pool also limits the memory of all
// commands together, kills the largest process when they thrash, and keeps the OOM killer from the
// agent. [Missing] says which of these a machine cannot do, and why.
//
// On a machine without cgroups, [Pool.Kill] finds the processes of a command in /proc.
//
// The package does not know of hosts, or how a command is started. It imports package reactor, and
// the rooms log and sys.
package contain
