// Package vmm knows the virtual machine monitors: which of them this host can run, their command
// lines, and QEMU's monitor protocol. It starts only short trials; package machine runs the real
// ones.
//
// There are three ways to run a machine, in order of preference:
//
//	firecracker   Firecracker, if it is in the PATH and KVM works with it
//	qemu-vhost    QEMU's microvm with the kernel's own vsock device (/dev/vhost-vsock)
//	qemu          QEMU's microvm with the vsock device of package vhostvsock: needs nothing but QEMU
//
// QEMU runs under KVM where that works, and otherwise emulates (TCG). A trial with a real kernel
// finds out whether it works. Some hosts have /dev/kvm and let real-mode code run in it. They then
// hang or abort as soon as an ordinary kernel starts.
package vmm
