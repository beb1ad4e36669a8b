package vhostvsock

import "encoding/binary"

// headerSize is the length of struct virtio_vsock_hdr (virtio 1.2, 5.10.6), in bytes.
const headerSize = 44

// hostCID is the host's address. The front-end reads the guest's from the configuration and tells
// it.
const hostCID = 2

// maxPayload is the longest payload of a packet in either direction, in bytes.
const maxPayload = 64 << 10

// typeStream is the only supported socket type.
const typeStream = 1

// op is the operation of a packet.
type op uint16

const (
	opRequest       op = 1
	opResponse      op = 2
	opReset         op = 3
	opShutdown      op = 4
	opData          op = 5
	opCreditUpdate  op = 6
	opCreditRequest op = 7
)

// Flags of opShutdown: the directions that the sender closes.
const (
	shutReceive = 1
	shutSend    = 2
	shutBoth    = shutReceive | shutSend
)

// eventTransportReset is the only event: all connections are gone (5.10.6.7).
const eventTransportReset = 0

// header is the header of a packet.
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	len              uint32 // of the payload, in bytes
	typ              uint16
	op               op
	flags            uint32
	bufAlloc, fwdCnt uint32 // the sender's credit figures, see conn
}

func parseHeader(b *[headerSize]byte) header {
	return header{
		srcCID:   binary.LittleEndian.Uint64(b[0:]),
		dstCID:   binary.LittleEndian.Uint64(b[8:]),
		srcPort:  binary.LittleEndian.Uint32(b[16:]),
		dstPort:  binary.LittleEndian.Uint32(b[20:]),
		len:      binary.LittleEndian.Uint32(b[24:]),
		typ:      binary.LittleEndian.Uint16(b[28:]),
		op:       op(binary.LittleEndian.Uint16(b[30:])),
		flags:    binary.LittleEndian.Uint32(b[32:]),
		bufAlloc: binary.LittleEndian.Uint32(b[36:]),
		fwdCnt:   binary.LittleEndian.Uint32(b[40:]),
	}
}

func (h *header) encode(b *[headerSize]byte) {
	binary.LittleEndian.PutUint64(b[0:], h.srcCID)
	binary.LittleEndian.PutUint64(b[8:], h.dstCID)
	binary.LittleEndian.PutUint32(b[16:], h.srcPort)
	binary.LittleEndian.PutUint32(b[20:], h.dstPort)
	binary.LittleEndian.PutUint32(b[24:], h.len)
	binary.LittleEndian.PutUint16(b[28:], h.typ)
	binary.LittleEndian.PutUint16(b[30:], uint16(h.op))
	binary.LittleEndian.PutUint32(b[32:], h.flags)
	binary.LittleEndian.PutUint32(b[36:], h.bufAlloc)
	binary.LittleEndian.PutUint32(b[40:], h.fwdCnt)
}
