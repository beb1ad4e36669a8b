// Package keeper keeps machines that outlive the wick that started them.
//
// Each has a supervisor, a process of its own, and there is no daemon. A machine is a directory of
// the [Store], by its id:
//
//	lock        held by the supervisor while it runs (flock), so that the kernel says who lives
//	state.json  the last [State] that the supervisor wrote
//	log         the output of the machine's workload, and log.old what was before it
//	control     the supervisor's Unix socket, for [Call]
//	names/NAME  beside the directories: a link to the one whose machine has that name
//
// The store is in a directory that does not survive a reboot, as the machines do not. The disks of
// machines are elsewhere, because they may be large; see [Store.DiskDir].
//
// A state is true only together with the lock. A machine that is said to run while its lock is free
// has lost its supervisor. The kernel has then killed its monitor too.
package keeper
