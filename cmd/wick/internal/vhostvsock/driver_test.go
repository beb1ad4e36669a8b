package vhostvsock

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// soon limits how long a test waits for an expected event.
const soon = 10 * time.Second

const testCID = 3

// The memory of the fake machine has two regions that are adjacent only for the guest. The rings
// are at the beginning of the first. The rx buffers follow across the border, and the tx buffers
// are at the end of the second.
const (
	regionSize = 4 << 20
	userBase0  = 0x7f00_0000_0000
	userBase1  = 0x7e00_0000_0000
	ringSize   = 128
	ringSpace  = 16 << 10
	rxSize     = headerSize + 4096
	rxBase     = regionSize - ringSize*rxSize/2
	txBase     = regionSize + 1<<20
	txSlots    = 32
	txSlotSize = headerSize + maxPayload
)

// machine is a front-end and a guest's driver in one. It shares memory with the device and works
// the rings.
type machine struct {
	t      testing.TB
	dir    string
	uds    string
	device *Device
	served chan error
	conn   *net.UnixConn
	memfd  int
	mem    []byte
	rx, tx *driverRing
	event  *driverRing // nil: not passed on, as with QEMU

	txMu   sync.Mutex
	txFree []int
}

// driverRing is the driver's side of a virtqueue.
type driverRing struct {
	m         *machine
	index     int
	base      int // guest-physical
	avail     uint16
	used      uint16
	kick      int
	call, err *os.File
	callFD    int
	errFD     int
}

func newDevice(t testing.TB) (*Device, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d, err := New(Config{VhostSocket: filepath.Join(dir, "vhost"), UDS: filepath.Join(dir, "v"), GuestCID: testCID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

// newMachine returns a device that a front-end has set up, with a driver that has posted its rx
// buffers.
func newMachine(t testing.TB, withEvents bool) *machine {
	t.Helper()
	m := bareMachine(t)
	if withEvents {
		m.event = m.newRing(eventRing)
	}
	m.start(0, 0)
	m.postAll()
	return m
}

// bareMachine has a connection and memory, but has sent no message to the device yet.
func bareMachine(t testing.TB) *machine {
	t.Helper()
	d, dir := newDevice(t)
	m := &machine{t: t, dir: dir, uds: filepath.Join(dir, "v"), device: d, served: make(chan error, 1)}
	go func() { m.served <- d.Serve(context.Background()) }()
	c, err := net.Dial("unix", filepath.Join(dir, "vhost"))
	if err != nil {
		t.Fatal(err)
	}
	m.conn = c.(*net.UnixConn)
	if m.memfd, err = unix.MemfdCreate("guest", unix.MFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err = unix.Ftruncate(m.memfd, 2*regionSize); err != nil {
		t.Fatal(err)
	}
	if m.mem, err = unix.Mmap(m.memfd, 0, 2*regionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	m.rx, m.tx = m.newRing(rxRing), m.newRing(txRing)
	for i := range txSlots {
		m.txFree = append(m.txFree, i)
	}
	t.Cleanup(m.close)
	return m
}

func (m *machine) close() {
	m.conn.Close()
	m.device.Close()
	for _, r := range []*driverRing{m.rx, m.tx, m.event} {
		if r != nil {
			unix.Close(r.kick)
			r.call.Close()
			r.err.Close()
		}
	}
	unix.Munmap(m.mem)
	unix.Close(m.memfd)
}

func (m *machine) newRing(index int) *driverRing {
	r := &driverRing{m: m, index: index, base: index * ringSpace}
	fd := func() int {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			m.t.Fatal(err)
		}
		return fd
	}
	r.kick, r.callFD, r.errFD = fd(), fd(), fd()
	r.call, r.err = os.NewFile(uintptr(r.callFD), "call"), os.NewFile(uintptr(r.errFD), "err")
	return r
}

// The guest-physical places of a ring's parts.
func (r *driverRing) descAt() int  { return r.base }
func (r *driverRing) availAt() int { return r.base + ringSize*descSize }
func (r *driverRing) usedAt() int  { return r.base + 8<<10 }

func (m *machine) write(req request, flags uint32, payload []byte, fds ...int) {
	m.t.Helper()
	b := appendMessage(nil, message{request: req, flags: flagVersion | flags, payload: payload})
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := m.conn.WriteMsgUnix(b, oob, nil); err != nil {
		m.t.Fatalf("message %d: %v", req, err)
	}
}

func (m *machine) reply(req request) []byte {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(soon))
	var h [messageHeaderSize]byte
	if _, err := io.ReadFull(m.conn, h[:]); err != nil {
		m.t.Fatalf("reply to message %d: %v", req, err)
	}
	got, n, err := parseMessageHeader(h)
	if err != nil || got.request != req || got.flags&flagReply == 0 {
		m.t.Fatalf("reply to message %d: %+v, %v", req, got, err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.conn, b); err != nil {
		m.t.Fatalf("reply to message %d: %v", req, err)
	}
	return b
}

// ask sends a message with REPLY_ACK and returns the result.
func (m *machine) ask(req request, payload []byte, fds ...int) uint64 {
	m.t.Helper()
	m.write(req, flagNeedReply, payload, fds...)
	return binary.LittleEndian.Uint64(m.reply(req))
}

func (m *machine) must(req request, payload []byte, fds ...int) {
	m.t.Helper()
	if v := m.ask(req, payload, fds...); v != 0 {
		m.t.Fatalf("message %d failed", req)
	}
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func state32(index, v int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(index)), uint32(v))
}

func (m *machine) memTable() []byte {
	b := u64(2)
	for i, user := range []uint64{userBase0, userBase1} {
		for _, v := range []uint64{uint64(i) * regionSize, regionSize, user, uint64(i) * regionSize} {
			b = append(b, u64(v)...)
		}
	}
	return b
}

// start sends the messages that QEMU sends, with the rings beginning at the given indices.
func (m *machine) start(rxBase, txBase int) {
	m.t.Helper()
	m.write(reqGetFeatures, 0, nil)
	if f := binary.LittleEndian.Uint64(m.reply(reqGetFeatures)); f != offeredFeatures {
		m.t.Fatalf("features %#x", f)
	}
	m.write(reqSetProtocolFeatures, 0, u64(protocolReplyAck|protocolConfig))
	m.must(reqSetOwner, nil)
	m.must(reqSetFeatures, u64(offeredFeatures))
	m.must(reqSetMemTable, m.memTable(), m.memfd, m.memfd)
	m.startRing(m.rx, rxBase)
	m.startRing(m.tx, txBase)
	if m.event != nil {
		m.startRing(m.event, 0)
	}
}

func (m *machine) startRing(r *driverRing, base int) {
	m.t.Helper()
	m.must(reqSetVringNum, state32(r.index, ringSize))
	m.must(reqSetVringBase, state32(r.index, base))
	m.must(reqSetVringAddr, r.addrPayload())
	m.must(reqSetVringKick, u64(uint64(r.index)), r.kick)
	m.must(reqSetVringCall, u64(uint64(r.index)), r.callFD)
	m.must(reqSetVringErr, u64(uint64(r.index)), r.errFD)
	m.must(reqSetVringEnable, state32(r.index, 1))
}

func (r *driverRing) addrPayload() []byte {
	b := state32(r.index, 0)
	for _, at := range []int{r.descAt(), r.usedAt(), r.availAt(), 0} {
		b = append(b, u64(userBase0+uint64(at))...)
	}
	return b
}

func (m *machine) stopRing(r *driverRing) int {
	m.t.Helper()
	m.write(reqGetVringBase, 0, state32(r.index, 0))
	return int(binary.LittleEndian.Uint32(m.reply(reqGetVringBase)[4:]))
}

func (r *driverRing) setDesc(i int, d desc) {
	b := r.m.mem[r.descAt()+i*descSize:]
	binary.LittleEndian.PutUint64(b, d.addr)
	binary.LittleEndian.PutUint32(b[8:], d.len)
	binary.LittleEndian.PutUint16(b[12:], d.flags)
	binary.LittleEndian.PutUint16(b[14:], d.next)
}

// offer puts the chain at head in the available ring, and kicks if the device wants it.
func (r *driverRing) offer(head int) {
	b := r.m.mem[r.availAt() : r.availAt()+4+2*ringSize]
	binary.LittleEndian.PutUint16(b[4+2*(int(r.avail)%ringSize):], uint16(head))
	r.avail++
	store32(b, 0, uint32(r.avail)<<16)
	if load16(r.m.mem[r.usedAt():], 0)&usedNoNotify == 0 {
		signal(r.kick)
	}
}

// take waits for the next used entry and returns it.
func (r *driverRing) take(wait time.Duration) (head int, n uint32, err error) {
	b := r.m.mem[r.usedAt() : r.usedAt()+4+8*ringSize]
	for load16(b, 2) == r.used {
		if wait == 0 {
			return 0, 0, os.ErrDeadlineExceeded
		}
		r.call.SetReadDeadline(time.Now().Add(wait))
		var count [8]byte
		if _, err := r.call.Read(count[:]); err != nil {
			return 0, 0, err
		}
	}
	e := b[4+8*(int(r.used)%ringSize):]
	r.used++
	return int(binary.LittleEndian.Uint32(e)), binary.LittleEndian.Uint32(e[4:]), nil
}
