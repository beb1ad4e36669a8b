// Package machine runs machines: [Start] runs one, and [Run] does all that "wick run" does with one.
//
// # Which side connects
//
// Where there is a Unix socket (Firecracker, and QEMU with our vsock device) the guest connects to us: we listen before it boots, so ready
// comes the moment the guest is up and nothing is tried over and over, and a guest that could not boot can say why, for
// which it has only that way. With the kernel's own vsock device, port 1000 of the host belongs to no machine in particular, so there we
// connect to the guest's CID and try again until it listens; why a boot failed is then to be read off the console alone.
//
// # What is left behind
//
// Nothing. A machine has one directory for its sockets and disks, which goes with the machine. When
// a wick was killed, the next one removes its directory. It knows it by its lock, which no process
// holds, and which says that it is a machine's, with the directory's name and inode. A directory
// without such a mark is left alone; one that is to be kept has none. The kernel kills the monitor's
// process when ours ends, however it ends (PR_SET_PDEATHSIG).
package machine
