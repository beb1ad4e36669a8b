//go:build linux

// Package sysinit is what process 1 does before it can serve anybody, and after: the way up as a table of steps that print
// themselves and name their error, and the way down of the disks. It knows mounts and nothing of an agent.
//
//	cfg := sysinit.Default()
//	ignored, err := sysinit.Parse(args, cfg.Options(), agentOptions)
//	root, err := sysinit.Up(cfg, report)
//	... serve; then end all other processes ...
//	root.Down(sysinit.Mode{}, report)
//
// It runs on the goroutine that calls it, starts none, and takes bounded time: Up as long as the two devices may take to appear plus what
// mounting them takes, Down its limit. Linux 6.1 is the least it runs on. Its caller must have claimed the signals already
// (Ctrl-Alt-Del is SIGINT from the first step on), and must have closed stray descriptors: the Root keeps one.
//
// # The mounts
//
// Before, as the kernel leaves them, with the image as the root (root=/dev/vda) or an initramfs:
//
//	/                squashfs /dev/vda, read-only      or  rootfs, the initramfs
//	/dev             devtmpfs, perhaps
//
// While the layers are put together, seen through the descriptor of the working mount, for nobody's root contains it:
//
//	/                as before
//	└ (over it)      tmpfs: the working mount
//	  ├ rom          squashfs /dev/vda, read-only
//	  ├ rw           ext4 /dev/vdb, with upper and work     or  tmpfs
//	  └ dev          devtmpfs, only if the old root shows no device
//	(detached)       overlay: rom below, rw/upper above
//
// After:
//
//	/                overlay, writable                   (initramfs: the empty rootfs is under it)
//	/dev /dev/pts /dev/shm /dev/mqueue /proc /sys /sys/fs/cgroup /run
//	(detached)       ext4, its root held by one descriptor
//
// # Two ways to change the root
//
// pivot_root(2) swaps two mounts and lets the old one go with all that hangs on it, so it is tried first. The kernel's very first root cannot be
// swapped nor unmounted, and EINVAL says so: with an initramfs the overlay is put on top of it and chroot(2) goes there. An initramfs
// costs memory as long as its files exist, so they are deleted before, never leaving its device, and only if it is a
// ramfs or tmpfs. (The running program's own file keeps its memory until process 1 ends.) In both cases the layers are out
// of the namespace by then, so that leaving the chroot, which root can always do, leads to an empty directory.
// Documentation/filesystems/ramfs-rootfs-initramfs.rst and pivot_root(2) have the background.
//
// # Why the upper is hidden
//
// To write to an upper directory under a mounted overlay is undefined (Documentation/filesystems/overlayfs.rst), and a guest that finds it
// at /rw will do it: with a backup, with find -delete. The overlay does not need its layers to be mounted anywhere, as
// it clones their mounts for itself. What does need the upper is the way down, and for that a descriptor is enough.
//
// # What the way down guarantees
//
// When Settle returns nil, everything written before is on the disks and the overlay disk's file system is clean: nothing to replay and nothing for
// e2fsck to find, although the overlay is mounted on it still. That is read-only for the file system itself, by
// fspick(2) on the descriptor: it has no path for mount(2) to take, and one mount of it read-only would not stop the overlay's own.
// Files open for writing make that EBUSY (process 1's own log, a process that could not be killed); then the file system is frozen
// (ioctl_fsfreeze), which leaves it as clean. Other disks that somebody mounted are written by sync(2) and replay their
// journals next time; before the freeze, since one may lie in a file on this disk.
//
// A file system that has met an error takes all of that without a word, and may have been read-only long since (errors=remount-ro of ext4). So
// its superblock is read in the end, and what is not clean by its own account is not said to be.
//
// A disk may be dead. What waits for it sleeps so that no signal reaches it, sync(2) most of all; so a child does that and is left behind
// when the limit has passed, and the machine goes down nevertheless: reboot(2) writes nothing and waits for nothing of that kind.
//
// reboot(2) restarts by default. Firecracker ends on a reset on all architectures, while a power-off leaves it running on x86.
package sysinit
