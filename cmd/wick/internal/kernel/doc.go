// Package kernel finds a guest kernel and the files that it needs to reach vm-init.
//
// A kernel that the user gives has everything built in, like Firecracker's, and mounts the root
// image by itself. Without one, the kernel is that of Debian's cloud package. Its drivers are
// modules, so it gets an initramfs. The initramfs loads them, mounts the root image and hands over
// to the vm-init in it. This is a script for busybox. A Go program was measured to be no faster
// under emulation, and would be one more thing to build. Both took 0.4 s from the start of init to
// that of vm-init, most of it in the kernel.
//
// The kernel is unpacked (vmlinux) on the host once. An emulated guest that does it needs 0.4 s of
// its 2 s for that, and more memory.
package kernel
