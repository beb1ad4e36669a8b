// Package disks serves the requests about volumes and disks: mount, unmount and disk.
//
// All of these wait for disks, or for hosts that serve a file system. So a child process does the
// work, as a job of the program. Its descriptor 0 is the disk that takes the root's writes. It
// writes its result to descriptor 1, a pipe that the agent reads once the child has exited. A child
// that takes too long is killed and left behind, and the host is answered without it.
//
// The program brings the work itself, as a [Work]: this package knows nothing of mounts.
package disks
