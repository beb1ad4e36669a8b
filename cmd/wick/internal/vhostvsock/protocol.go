package vhostvsock

import (
	"encoding/binary"
	"fmt"
)

// request is the kind of a vhost-user message from the front-end.
type request uint32

const (
	reqGetFeatures         request = 1
	reqSetFeatures         request = 2
	reqSetOwner            request = 3
	reqResetOwner          request = 4
	reqSetMemTable         request = 5
	reqSetVringNum         request = 8
	reqSetVringAddr        request = 9
	reqSetVringBase        request = 10
	reqGetVringBase        request = 11
	reqSetVringKick        request = 12
	reqSetVringCall        request = 13
	reqSetVringErr         request = 14
	reqGetProtocolFeatures request = 15
	reqSetProtocolFeatures request = 16
	reqGetQueueNum         request = 17
	reqSetVringEnable      request = 18
	reqGetConfig           request = 24
)

// Header flags.
const (
	flagVersionMask = 0x3
	flagVersion     = 0x1
	flagReply       = 0x4
	flagNeedReply   = 0x8
)

// Device features, as bits of GET_FEATURES and SET_FEATURES.
const (
	featureIndirect         = 1 << 28 // VIRTIO_RING_F_INDIRECT_DESC
	featureProtocolFeatures = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES
	featureVersion1         = 1 << 32 // VIRTIO_F_VERSION_1

	offeredFeatures = featureIndirect | featureProtocolFeatures | featureVersion1
)

// Protocol features. QEMU reads the CID by CONFIG and does not start without it. REPLY_ACK makes it
// wait for the result of a message. So a failure here becomes QEMU's error message and not a silent
// guest.
const (
	protocolReplyAck = 1 << 3
	protocolConfig   = 1 << 9

	offeredProtocolFeatures = protocolReplyAck | protocolConfig
)

const (
	messageHeaderSize = 12
	// maxMessageSize limits a payload, in bytes. The longest known one is a memory table of
	// maxRegions.
	maxMessageSize = 4096
	maxRegions     = 8
	maxMessageFDs  = maxRegions
	// vringNoFD in the argument of SET_VRING_KICK, CALL and ERR says that no descriptor comes with
	// it.
	vringNoFD      = 1 << 8
	vringIndexMask = 0xff
)

// message is one vhost-user message without its descriptors.
type message struct {
	request request
	flags   uint32
	payload []byte
}

// parseMessageHeader returns the message without its payload, and the payload's size, at most
// maxMessageSize.
func parseMessageHeader(b [messageHeaderSize]byte) (message, int, error) {
	m := message{
		request: request(binary.LittleEndian.Uint32(b[0:])),
		flags:   binary.LittleEndian.Uint32(b[4:]),
	}
	size := binary.LittleEndian.Uint32(b[8:])
	if m.flags&flagVersionMask != flagVersion {
		return m, 0, fmt.Errorf("vhost-user message %d: version %d, want 1", m.request,
			m.flags&flagVersionMask)
	}
	if size > maxMessageSize {
		return m, 0, fmt.Errorf("vhost-user message %d: payload of %d bytes, limit %d", m.request,
			size, maxMessageSize)
	}
	return m, int(size), nil
}

// appendMessage appends a message in wire form. A reply has the request number of its message.
func appendMessage(b []byte, m message) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(m.request))
	b = binary.LittleEndian.AppendUint32(b, m.flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.payload)))
	return append(b, m.payload...)
}

// uint64 parses the payload of most messages.
func (m message) uint64() (uint64, error) {
	if len(m.payload) != 8 {
		return 0, fmt.Errorf("payload of %d bytes, want 8", len(m.payload))
	}
	return binary.LittleEndian.Uint64(m.payload), nil
}

// vringState parses the payload of SET_VRING_NUM, BASE and ENABLE: a ring and a number.
func (m message) vringState() (index, num uint32, err error) {
	if len(m.payload) != 8 {
		return 0, 0, fmt.Errorf("payload of %d bytes, want 8", len(m.payload))
	}
	return binary.LittleEndian.Uint32(m.payload), binary.LittleEndian.Uint32(m.payload[4:]), nil
}

// vringAddr is the payload of SET_VRING_ADDR. The addresses are the front-end's own (QEMU-virtual).
type vringAddr struct {
	index             uint32
	desc, used, avail uint64
}

func (m message) vringAddr() (vringAddr, error) {
	if len(m.payload) != 40 {
		return vringAddr{}, fmt.Errorf("payload of %d bytes, want 40", len(m.payload))
	}
	// Bytes 4-8 are flags and 32-40 an address, both for logging dirty pages, which is not offered.
	return vringAddr{
		index: binary.LittleEndian.Uint32(m.payload),
		desc:  binary.LittleEndian.Uint64(m.payload[8:]),
		used:  binary.LittleEndian.Uint64(m.payload[16:]),
		avail: binary.LittleEndian.Uint64(m.payload[24:]),
	}, nil
}

// regionTable parses the payload of SET_MEM_TABLE. The regions' descriptors are in the same order.
func (m message) regionTable() ([]regionSpec, error) {
	const fixed, each = 8, 32
	if len(m.payload) < fixed {
		return nil, fmt.Errorf("payload of %d bytes, want at least %d", len(m.payload), fixed)
	}
	n := binary.LittleEndian.Uint32(m.payload)
	if n > maxRegions {
		return nil, fmt.Errorf("%d memory regions, limit %d", n, maxRegions)
	}
	b := m.payload[fixed:]
	if len(b) < int(n)*each {
		return nil, fmt.Errorf("%d bytes for %d memory regions", len(b), n)
	}
	regions := make([]regionSpec, n)
	for i := range regions {
		r := b[i*each:]
		regions[i] = regionSpec{
			guest:  binary.LittleEndian.Uint64(r),
			size:   binary.LittleEndian.Uint64(r[8:]),
			user:   binary.LittleEndian.Uint64(r[16:]),
			offset: binary.LittleEndian.Uint64(r[24:]),
		}
	}
	return regions, nil
}

// configReply answers GET_CONFIG with the wanted part of config. An empty payload is the protocol's
// error.
func (m message) configReply(config []byte) ([]byte, error) {
	const fixed = 12
	if len(m.payload) < fixed {
		return nil, fmt.Errorf("payload of %d bytes, want at least %d", len(m.payload), fixed)
	}
	offset := binary.LittleEndian.Uint32(m.payload)
	size := binary.LittleEndian.Uint32(m.payload[4:])
	if uint64(offset)+uint64(size) > uint64(len(config)) || len(m.payload) != fixed+int(size) {
		return nil, fmt.Errorf("%d bytes at offset %d of a configuration of %d", size, offset,
			len(config))
	}
	reply := append([]byte(nil), m.payload[:fixed]...)
	return append(reply, config[offset:offset+size]...), nil
}
