//go:build linux

// Package sysinit brings a machine up as process 1, and its disks down. Up works through a table of
// steps that print themselves and name their error. The package knows mounts and nothing of an
// agent.
//
//	cfg := sysinit.Default()
//	ignored, err := sysinit.Parse(args, cfg.Options(), agentOptions)
//	root, err := sysinit.Up(cfg, report)
//	err = root.Mount(cfg, report)
//	... serve; then end all other processes ...
//	root.Down(sysinit.Mode{}, report)
//
// It runs on the goroutine that calls it and starts no other. Its time is bounded: Up and Mount
// take what their mounts take, after the devices have appeared, and Down keeps its limit. It needs
// Linux 6.1. Its caller must handle signals already, because Ctrl-Alt-Del is SIGINT from the first
// step on. It must also have closed stray descriptors, because the Root keeps one.
//
// # The mounts
//
// Before, as the kernel leaves them, with the image as the root (root=/dev/vda) or an initramfs:
//
//	/                squashfs /dev/vda, read-only      or  rootfs, the initramfs
//	/dev             devtmpfs, perhaps
//
// While the layers are assembled, seen through the descriptor of the working mount, because no
// process's root contains it:
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
// A base may have several layers, each a squashfs or an erofs. They are mounted on rom, rom1 and so
// on, and the overlay has the last above the others. With Config.WritableRoot there is no overlay:
// the base is an ext4 and becomes the root.
//
// Mount comes after Up, because the image may ask for volumes too. It grows the disk of the root,
// and mounts each volume on the finished root, those that hold others first. A volume that fails
// costs the machine only that volume, unless it is required. All devices together may take
// Config.Wait, so several that are missing delay the boot once.
//
// # Two ways to change the root
//
// pivot_root(2) swaps two mounts, and the old one goes with everything mounted on it. So it is
// tried first. The kernel's very first root can be neither swapped nor unmounted, and EINVAL says
// so. With an initramfs the overlay is therefore mounted on top of it, and chroot(2) enters the
// overlay.
//
// An initramfs costs memory as long as its files exist, so they are deleted first. The deletion
// never leaves its device, and happens only if it is a ramfs or tmpfs. (The running program's own
// file keeps its memory until process 1 ends.)
//
// In both cases the layers have left the namespace by then. Root can always leave a chroot, but
// finds only an empty directory outside. Documentation/filesystems/ramfs-rootfs-initramfs.rst and
// pivot_root(2) have the background.
//
// # Why the upper is hidden
//
// Writing to an upper directory under a mounted overlay is undefined
// (Documentation/filesystems/overlayfs.rst). A guest that finds it at /rw will do it, with a backup
// or find -delete. The overlay does not need its layers to be mounted anywhere, because it clones
// their mounts for itself. Only the shutdown needs the upper, and for that a descriptor is enough.
//
// # Guarantees of the shutdown
//
// When Settle returns nil, everything written before is on the disks, and the overlay disk's file
// system is clean. There is nothing to replay and nothing for e2fsck to find, although the overlay
// is still mounted on it.
//
// To that end the file system itself becomes read-only, by fspick(2) on the descriptor. It has no
// path that mount(2) could take, and a read-only mount of it would not stop the overlay's own
// mount. Files open for writing make that fail with EBUSY: process 1's own log, or a process that
// could not be killed. Then the file system is frozen (ioctl_fsfreeze), which leaves it as clean.
//
// Before that, everything else is unmounted, the last first: the volumes, and what the guest
// mounted itself. The mount table of process 1 lists them. If a mount is busy, its file system
// becomes read-only. If files on it are open for writing, it is frozen. Both leave it clean. One
// may lie in a file on the overlay disk, and must have written its data before that disk is frozen.
// A disk that hangs takes half of the limit at most.
//
// A file system that has met an error accepts all of that silently. It may even have been read-only
// for long (errors=remount-ro of ext4). So its superblock is read in the end, and one that is
// marked unclean is reported as unclean.
//
// A disk may be dead. A process that waits for it sleeps uninterruptibly, above all in sync(2). So
// a child does that work and is left behind when the limit has passed. The machine still goes down,
// because reboot(2) writes nothing and waits for no disk.
//
// Reboot restarts by default, because Firecracker ends on a reset on all architectures. A power-off
// would leave it running on x86, so PowerOff resets such a machine.
package sysinit
