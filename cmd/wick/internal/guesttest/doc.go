// Package guesttest tests vm-init and its agent in place: as process 1 of a real kernel, in a
// machine booted for the test. It exports nothing.
//
// The machines are QEMU's, with the vsock device of package vhostvsock, so the host's side is the
// same as with Firecracker. Without KVM they are emulated. The tests therefore measure only the
// guest's own time, and their deadlines only end a run that hangs.
//
// The tests need QEMU, squashfs-tools, e2fsprogs, a static busybox and Debian's cloud kernel. The
// last two are fetched if necessary. A test that lacks something skips, and its message has the
// remedy. If CI is set in the environment it fails instead, so that such a run cannot pass by
// skipping.
//
// With WICK_KERNEL=FILE in the environment they use that kernel. It must have everything built in,
// and is booted without an initramfs. WICK_KERNEL=$(scripts/guest-kernel) is a kernel with
// Firecracker's own configuration.
//
// A boot takes seconds, so tests share machines if they do not disturb each other. Two machines run
// at a time.
package guesttest
