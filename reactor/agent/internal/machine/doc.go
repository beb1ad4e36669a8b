// Package machine serves the requests about the whole machine: facts and figures, pressure, a sync
// of its disks, a freeze for a snapshot, and a restore from one.
//
//	hello ─▶ facts            stats ─▶ figures          pressure ─▶ trigger ─▶ figures …
//	shutdown ─▶ sync job      freeze ─▶ freezer, job    restore ─▶ clock, entropy, epoch
//	identity ─▶ as restore, then network, names, connections ─▶ command, generation, workload
//
// A sync and a freeze take as long as the disk does, so each is a [launch.Job]. While the disk is
// frozen it is held, and the other rooms do not write to it.
package machine
