// Package vmm knows the virtual machine monitors: which of them this host can run, what their command lines are, how QEMU is
// spoken to while it runs. It starts nothing but short trials; package machine runs the real ones.
//
// There are three ways to run a machine, in the order in which they are preferred:
//
//	firecracker   Firecracker, if it is in the PATH and KVM works with it
//	qemu-vhost    QEMU's microvm with the kernel's own vsock device (/dev/vhost-vsock)
//	qemu          QEMU's microvm with the vsock device of package vhostvsock: needs nothing but QEMU
//
// QEMU runs under KVM where that works and emulates (TCG) where not. Whether it works is tried, with a real kernel: there are hosts that
// have /dev/kvm, let real-mode code run in it, and then hang or abort as soon as an ordinary kernel starts.
package vmm
