// Package contain keeps commands within bounds. A [Pool] gives each command a cgroup, a [Box], so
// that all of it can be limited, measured and killed. It also limits the memory of all commands
// together, kills the largest process when they thrash, and keeps the OOM killer from the agent.
// Where something is missing on a machine, [Missing] says what and why.
//
// A machine without cgroups is served too: [Pool.Kill] then finds the processes of a command in
// /proc.
//
// It knows nothing of hosts and of how a command is started. It imports package reactor, and the
// rooms log and sys.
package contain
