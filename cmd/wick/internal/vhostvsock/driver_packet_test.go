package vhostvsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// post offers rx buffer i. Odd ones have two descriptors in an indirect table, even ones have one.
func (m *machine) post(i int) {
	at := uint64(rxBase + i*rxSize)
	if i%2 == 0 {
		m.rx.setDesc(i, desc{addr: at, len: rxSize, flags: descWrite})
	} else {
		table := m.rx.base + 12<<10 + i*2*descSize
		b := m.mem[table:]
		for k, d := range []desc{
			{addr: at, len: headerSize, flags: descWrite | descNext, next: 1},
			{addr: at + headerSize, len: rxSize - headerSize, flags: descWrite},
		} {
			binary.LittleEndian.PutUint64(b[k*descSize:], d.addr)
			binary.LittleEndian.PutUint32(b[k*descSize+8:], d.len)
			binary.LittleEndian.PutUint16(b[k*descSize+12:], d.flags)
			binary.LittleEndian.PutUint16(b[k*descSize+14:], d.next)
		}
		m.rx.setDesc(i, desc{addr: uint64(table), len: 2 * descSize, flags: descIndirect})
	}
	m.rx.offer(i)
}

func (m *machine) postAll() {
	for i := range ringSize {
		m.post(i)
	}
}

var errQuiet = errors.New("no packet came")

// recvWithin returns the next packet from the device and offers its buffer again.
func (m *machine) recvWithin(wait time.Duration) (header, []byte, error) {
	i, n, err := m.rx.take(wait)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return header{}, nil, errQuiet
	}
	if err != nil {
		return header{}, nil, err
	}
	at := rxBase + i*rxSize
	h := parseHeader((*[headerSize]byte)(m.mem[at:]))
	if n != headerSize+h.len {
		return h, nil, fmt.Errorf("%d bytes used for a packet of %d", n, headerSize+h.len)
	}
	if h.srcCID != hostCID || h.dstCID != testCID {
		return h, nil, fmt.Errorf("packet from CID %d to %d", h.srcCID, h.dstCID)
	}
	data := append([]byte(nil), m.mem[at+headerSize:at+int(n)]...)
	m.post(i)
	return h, data, nil
}

func (m *machine) recv() (header, []byte) {
	m.t.Helper()
	h, data, err := m.recvWithin(soon)
	if err != nil {
		m.t.Fatalf("receive packet: %v", err)
	}
	return h, data
}

// want receives a packet and fails unless its operation is o.
func (m *machine) want(o op) (header, []byte) {
	m.t.Helper()
	h, data := m.recv()
	if h.op != o {
		m.t.Fatalf("packet %+v, want operation %d", h, o)
	}
	return h, data
}

// quiet checks that the device has no packet to send. It sends one that is always answered, so that
// it need not wait.
func (m *machine) quiet() {
	m.t.Helper()
	m.send(header{srcPort: 1, dstPort: 0xdead, op: opShutdown}, nil)
	if h, _ := m.want(opReset); h.srcPort != 0xdead {
		m.t.Fatalf("packet %+v, want none", h)
	}
}

// send gives the device a packet. It fills in missing addresses, type and length.
func (m *machine) send(h header, data []byte) {
	m.t.Helper()
	if err := m.trySend(h, data, soon); err != nil {
		m.t.Fatalf("send packet: %v", err)
	}
}

func (m *machine) trySend(h header, data []byte, wait time.Duration) error {
	if h.srcCID == 0 {
		h.srcCID = testCID
	}
	if h.dstCID == 0 {
		h.dstCID = hostCID
	}
	if h.typ == 0 {
		h.typ = typeStream
	}
	if h.len == 0 {
		h.len = uint32(len(data))
	}
	m.txMu.Lock()
	defer m.txMu.Unlock()
	for {
		i, _, err := m.tx.take(0)
		if err != nil && len(m.txFree) == 0 {
			i, _, err = m.tx.take(wait)
			if err != nil {
				return err
			}
		}
		if err != nil {
			break
		}
		m.txFree = append(m.txFree, i/2)
	}
	slot := m.txFree[len(m.txFree)-1]
	m.txFree = m.txFree[:len(m.txFree)-1]
	at := txBase + slot*txSlotSize
	h.encode((*[headerSize]byte)(m.mem[at:]))
	copy(m.mem[at+headerSize:], data)
	head := desc{addr: uint64(at), len: headerSize}
	if len(data) > 0 {
		head.flags, head.next = descNext, uint16(slot*2+1)
		m.tx.setDesc(slot*2+1, desc{addr: uint64(at + headerSize), len: uint32(len(data))})
	}
	m.tx.setDesc(slot*2, head)
	m.tx.offer(slot * 2)
	return nil
}

// dialHost connects to the device as a host program and sends greeting.
func (m *machine) dialHost(greeting string) *net.UnixConn {
	m.t.Helper()
	c, err := net.Dial("unix", m.uds)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	if _, err := io.WriteString(c, greeting); err != nil {
		m.t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// listenHost listens as a host program for guests that connect to port.
func (m *machine) listenHost(port uint32) *net.UnixListener {
	m.t.Helper()
	l, err := net.Listen("unix", hostPath(m.uds, port))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	l.(*net.UnixListener).SetDeadline(time.Now().Add(soon))
	return l.(*net.UnixListener)
}

// peer is the guest's end of a connection that tests drive packet by packet.
type peer struct {
	m                   *machine
	guestPort, hostPort uint32
}

func (p peer) send(o op, flags uint32, data []byte) {
	p.m.t.Helper()
	p.m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: o, flags: flags, bufAlloc: 256 << 10}, data)
}

// want receives a packet of this connection.
func (p peer) want(o op) (header, []byte) {
	p.m.t.Helper()
	h, data := p.m.want(o)
	if h.srcPort != p.hostPort || h.dstPort != p.guestPort {
		p.m.t.Fatalf("packet %+v, want one from port %d to %d", h, p.hostPort, p.guestPort)
	}
	return h, data
}

// hostConnects makes a connection from a host program to the guest's port 1000.
func (m *machine) hostConnects() (*net.UnixConn, peer) {
	m.t.Helper()
	c := m.dialHost("CONNECT 1000\n")
	h, _ := m.want(opRequest)
	p := peer{m: m, guestPort: 1000, hostPort: h.srcPort}
	p.send(opResponse, 0, nil)
	want := fmt.Sprintf("OK %d\n", h.srcPort)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		m.t.Fatalf("answer to CONNECT: %q, %v", got, err)
	}
	return c, p
}

// guestConnects makes a connection from the guest's port 2000 to a host program.
func (m *machine) guestConnects() (*net.UnixConn, peer) {
	m.t.Helper()
	l := m.listenHost(1000)
	defer l.Close()
	p := peer{m: m, guestPort: 2000, hostPort: 1000}
	p.send(opRequest, 0, nil)
	p.want(opResponse)
	c, err := l.AcceptUnix()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	return c, p
}
