// Package vhostvsock implements a virtio-vsock device outside QEMU: the back-end that QEMU's
// vhost-user-vsock-device talks to over a Unix socket. It gives a guest a real virtio-vsock on a
// host without /dev/vhost-vsock. Towards the host it behaves like Firecracker's device, so that a
// client cannot tell the two apart.
//
// # The host's side
//
// The device owns a Unix socket, UDS. A host program connects to it, writes "CONNECT <port>\n", and
// reads "OK <host port>\n" once a listener in the guest has accepted. From then on the stream is
// the connection. If the guest refuses, or does not answer within 2 s, the stream is closed without
// an answer. In the other direction, a guest connects to CID 2, port N. Its connection goes to the
// listener on the Unix socket UDS_N. Without a listener its connect fails with ECONNRESET.
//
// Until the guest's driver runs, and while the machine is paused, the device accepts no connections
// on UDS. A host program that connects then waits in the backlog. A greeting must be complete 2 s
// after it has begun.
//
// # virtio-vsock (virtio 1.2, section 5.10)
//
// A vsock address is a CID (the machine; 2 is the host) and a port, both integers. The device has
// three virtqueues (5.10.2): rx carries packets to the guest, tx carries packets from it, and event
// carries events. A packet (5.10.6) is a little-endian header of 44 bytes, and for operation RW a
// payload. Connections are byte streams, made and ended by packets:
//
//   - REQUEST is answered by RESPONSE or RST.
//   - SHUTDOWN says that its sender will receive no more, send no more, or both.
//   - RST ends the connection at once. It also answers any packet without a connection.
//
// Flow control (5.10.6.3) is by credit. In every header, buf_alloc is the size of the sender's
// buffer for this connection. fwd_cnt is how many bytes the sender has passed on from it so far,
// modulo 2^32. The other side may have at most buf_alloc bytes in flight, that is, sent and not yet
// passed on. CREDIT_REQUEST asks for these figures. CREDIT_UPDATE tells them when there is no other
// packet to send. So a host program that does not read stalls only its own connection.
//
// The queues themselves do no flow control but can still be full (5.10.6.1). Replies are then held
// outside the queues. Only if too many are held does the device stop reading tx. No packet is ever
// dropped for lack of room.
//
// These rules are Firecracker's and not the specification's:
//
//   - The window from guest to host is 64 KiB.
//   - Host ports start at 2^30.
//   - There are at most 1023 connections.
//   - A host program cannot half-close. When it shuts down its writing side, the guest gets all of
//     its bytes and then a SHUTDOWN of both directions. Bytes that the guest still sends are lost.
//   - A guest that shuts down only its writing side goes on receiving, and the host program is not
//     told.
//   - A connection that is being closed has 2 s to finish and is then ended by RST.
//
// # vhost-user (docs/interop/vhost-user of the QEMU project)
//
// The front-end, QEMU, connects to VhostSocket. (It is the chardev's client: server=off.) It hands
// over what a device needs. SET_MEM_TABLE passes the guest's memory as descriptors to map. For each
// virtqueue the device gets its addresses and two eventfds. One fires when the guest has added
// buffers (kick). The device fires the other when it has used some (call). Ring addresses are in
// QEMU's own address space, while descriptors in the ring hold guest-physical ones.
//
// GET_VRING_BASE stops a ring and returns how far it was read. The guest's memory holds the rest of
// its state, so that a stopped ring can be started again. QEMU pauses a machine in this way, so
// connections outlive a stop. They end when a driver starts over, with rings that begin at 0. The
// guest's CID is the only configuration and is read with GET_CONFIG.
//
// The rings are split virtqueues (virtio 1.2, section 2.7) with VIRTIO_F_VERSION_1 and, if the
// driver wants them, indirect descriptors (2.7.5.3). Kicks and calls are suppressed by flags
// (2.7.7), not by event index.
//
// QEMU keeps the event queue for itself, so a back-end gets only rx and tx. Another front-end may
// pass it on, and [Device.ResetConnections] then uses it.
//
// # Trust
//
// The guest is not trusted. Everything it writes, descriptors and headers alike, is copied once and
// then checked. A bad descriptor chain is returned unused. A ring that contradicts itself is
// stopped, and its err descriptor signalled. The front-end is trusted, except that it may shrink
// the memory that it shares. Serve then returns an error and the process goes on.
//
// # Structure
//
// One goroutine, the one that calls [Device.Serve], owns everything. It waits in epoll for
// messages, kicks, the listener and the host programs' streams, and never for only one of these.
// Data is copied once, by the kernel, between a stream and the guest's memory. Read the files in
// this order:
//
//   - vhost-user: protocol.go, frontend.go, session.go
//   - virtqueues: memory.go, chain.go, ring.go
//   - vsock: packet.go, conn.go, muxer.go
//   - the Unix socket: listen.go
//   - between rings and connections: pump.go
//   - the loop: poller.go, device.go
package vhostvsock
