// Package guesttest holds tests of vm-init and its agent where they are meant to run: as process 1 of a real kernel, in a machine that
// was booted for it. There is nothing in it to import.
//
// The machines are QEMU's, with the vsock device of package vhostvsock, so that the host's side is what it is behind Firecracker. They
// are emulated where KVM is not to be had, and the tests therefore measure no time but the guest's own; all their deadlines are there to
// end a run that hangs, not to judge one. What the tests need is QEMU, squashfs-tools, e2fsprogs, a static busybox and Debian's
// cloud kernel, the last two fetched if need be. They skip where something is missing and say what helps; with CI set in the
// environment they fail instead, since a run there must not pass by skipping.
//
// With WICK_KERNEL=FILE in the environment they run on that kernel, which has everything built in and is booted without an
// initramfs: WICK_KERNEL=$(scripts/guest-kernel) is one with Firecracker's own configuration.
//
// A boot takes seconds, so tests share machines as far as they do not disturb one another, and two machines run at a time.
package guesttest
