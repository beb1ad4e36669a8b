// Package machine serves the requests about the machine as a whole: its facts and figures, pressure, a sync
// of its disks, a freeze for a snapshot, and a restore from one.
//
//	hello ─▶ facts            stats ─▶ figures          pressure ─▶ trigger ─▶ figures …
//	shutdown ─▶ sync job      freeze ─▶ freezer, job    restore ─▶ clock, entropy, epoch
//
// What takes as long as a disk does, a sync or a freeze, is a [launch.Job]. While the disk is frozen, the
// other rooms keep off it: it is held for them.
package machine
