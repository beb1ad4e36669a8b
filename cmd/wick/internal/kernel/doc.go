// Package kernel finds a guest kernel and what it needs to reach vm-init.
//
// A kernel that is given has everything built in, as Firecracker's has, and mounts the root image by itself. Without one, the kernel is that of Debian's
// cloud package: its drivers are modules, so it gets an initramfs that loads them, mounts the root image and hands over to the
// vm-init in it. What does this is a script for busybox: a Go program in its place was measured to be no faster under emulation (both took 0.4 s from
// the start of init to that of vm-init, most of it spent in the kernel) and would be one more thing to build.
//
// The kernel is unpacked (vmlinux) on the host once: a guest that does it needs 0.4 s of its 2 s for that when it is emulated, and more memory.
package kernel
