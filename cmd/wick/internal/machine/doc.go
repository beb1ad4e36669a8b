// Package machine runs machines. [Start] runs one, and [Run] does everything that "wick run" does
// with one.
//
// # Which side connects
//
// With a Unix socket (Firecracker, and QEMU with our vsock device) the guest connects to the host.
// The host listens before the boot, so it sees ready the moment the guest is up, without retries. A
// guest that could not boot reports the reason on the same connection, and it has no other way.
//
// With the kernel's own vsock device, port 1000 of the host does not belong to one machine. There
// the host connects to the guest's CID and retries until the guest listens. The reason of a failed
// boot is then only on the console.
//
// # What is left behind
//
// Nothing is left. A machine has one directory for its sockets and disks, which goes with the
// machine. If a wick was killed, the next one removes its directory. It recognises the directory by
// its lock, which no process holds. The lock's content marks a machine's directory by its name and
// inode. A directory without such a mark is left alone, and one that is to be kept has none. The
// kernel kills the monitor's process when ours ends, however it ends (PR_SET_PDEATHSIG).
//
// # Snapshots
//
// [Machine.Save] saves a machine in a directory, and [Options.From] runs a copy. The monitor writes
// the memory and the devices: Firecracker by its API, QEMU by a migration to a file. QEMU cannot
// save a vhost-user-vsock device, so the machines of the backend qemu cannot be saved. In the files
// of Firecracker the disks and the socket have names in the directory in which it runs. So a copy
// in a directory of its own has its own.
package machine
