// Package usernet is the host's side of a machine's network in user mode. It needs no privileges
// and no other program.
//
// QEMU passes the machine's Ethernet frames over a connection. A TCP/IP stack in this process (that
// of gVisor) ends the machine's connections, and each becomes a connection of this process:
//
//	guest 10.0.2.15 ── virtio-net ── QEMU ── frames ── usernet ── sockets of this process ── network
//
// The guest therefore reaches over IPv4 what this process reaches, by TCP and UDP. It does not
// reach the host's loopback, unless that is asked for: then the gateway's address stands for it.
// The name server's address stands for the name server of the host. Nothing reaches the guest from
// outside, and no echo request (ping) leaves it.
//
// QEMU's own user-mode network is not used, because its gateway always leads to the host's
// loopback.
package usernet
