// Package vhostvsock is a virtio-vsock device outside QEMU: the back-end that QEMU's vhost-user-vsock-device talks to
// over a Unix socket. It gives a guest a real virtio-vsock on a host without /dev/vhost-vsock, and towards the host it
// behaves as Firecracker's device does, so that a client cannot tell the two apart.
//
// # The host's side
//
// The device owns a Unix socket, UDS. A host program connects to it, writes "CONNECT <port>\n", and reads
// "OK <host port>\n" once a listener in the guest accepted; from then on the stream is the connection. If the guest
// refuses, or does not answer within 2 s, the stream is closed without a word. The other way, a guest that connects to
// CID 2, port N, gets whoever listens on the Unix socket UDS_N; if nobody does, its connect fails with ECONNRESET.
//
// Until the guest's driver runs, and while the machine is paused, UDS accepts nobody: a host that connects then waits in
// the backlog. A greeting once begun must be complete within 2 s.
//
// # virtio-vsock (virtio 1.2, section 5.10)
//
// A vsock address is a CID (the machine: 2 is the host) and a port, both integers; there is nothing else to it. The
// device has three virtqueues (5.10.2): rx, which carries packets to the guest, tx, which carries packets from it, and
// event. A packet (5.10.6) is a header of 44 bytes, little-endian, and for operation RW a payload. Connections are
// byte streams, made and ended by packets: REQUEST is answered by RESPONSE or RST; SHUTDOWN says that its sender will
// receive no more, send no more, or both; RST ends the connection at once, and answers any packet that belongs to none.
//
// Flow control (5.10.6.3) is by credit. Every header says how large its sender's buffer for this connection is
// (buf_alloc) and how many bytes the sender has passed on from it so far (fwd_cnt, modulo 2^32). The other side may
// have at most buf_alloc bytes under way, that is sent and not yet passed on. CREDIT_REQUEST asks for these figures,
// CREDIT_UPDATE tells them when there is nothing else to say. A host program that does not read thus holds up its own
// connection and no other.
//
// The queues themselves are no flow control but can still be full (5.10.6.1): replies are then held outside the
// queues, and only if too many are held does the device stop reading tx. No packet is ever dropped for want of room.
//
// What is Firecracker's choice rather than the specification's: a window of 64 KiB from guest to host; host ports from
// 2^30 upwards; at most 1023 connections; no half-close. When a host program shuts down its writing side, the guest gets
// all of its bytes and then a SHUTDOWN of both directions; what the guest still sends is lost. A guest that shuts down
// only its writing side goes on receiving, and the host program is not told. A connection that is being closed has 2 s
// to finish and is then ended by RST.
//
// # vhost-user (docs/interop/vhost-user of the QEMU project)
//
// The front-end, QEMU, connects to VhostSocket (it is the chardev's client: server=off) and hands over what a device
// needs: the guest's memory as descriptors to map (SET_MEM_TABLE), and for each virtqueue its addresses, an eventfd that
// fires when the guest has added buffers (kick) and one to fire when the device has used some (call). Ring addresses are
// in QEMU's own address space, descriptors in the ring hold guest-physical ones. GET_VRING_BASE stops a ring and returns
// how far it was read; the guest's memory holds all the rest of its state, so that a stopped ring can be started again.
// That is how QEMU pauses a machine, whose connections therefore outlive a stop; they end when a driver starts over, with
// rings that begin at 0. The guest's CID is the only configuration and is read with GET_CONFIG.
//
// The rings are split virtqueues (virtio 1.2, section 2.7) with VIRTIO_F_VERSION_1 and, if the driver wants them,
// indirect descriptors (2.7.5.3). Kicks and calls are suppressed by flags (2.7.7), not by event index.
//
// QEMU keeps the event queue for itself: a back-end gets rx and tx alone. Another front-end may pass it on, and
// [Device.ResetConnections] uses it if it is there.
//
// # Trust
//
// The guest is not trusted. Everything it writes, descriptors and headers alike, is copied once and then checked; a bad
// descriptor chain is returned unused, a ring that contradicts itself is stopped and its err descriptor signalled. The
// front-end is trusted as far as memory goes: it may shrink the memory that it shares, which ends Serve with an error
// instead of the process.
//
// # How it is made
//
// One goroutine, the one that calls [Device.Serve], owns everything: it waits in epoll for messages, kicks, the
// listener, and the host programs' streams, and none of these is ever waited for alone. Data is copied once, by the
// kernel, between a stream and the guest's memory. Read the files in this order: protocol.go, frontend.go, session.go
// (vhost-user); memory.go, chain.go, ring.go (virtqueues); packet.go, conn.go, muxer.go (vsock); listen.go (the Unix
// socket); pump.go (between rings and connections); poller.go, device.go (the loop).
package vhostvsock
