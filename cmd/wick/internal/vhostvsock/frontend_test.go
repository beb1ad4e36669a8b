package vhostvsock

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	get := func(offset, size uint32, room int) []byte {
		b := binary.LittleEndian.AppendUint32(nil, offset)
		b = binary.LittleEndian.AppendUint32(b, size)
		b = append(b, make([]byte, 4+room)...)
		m.write(reqGetConfig, 0, b)
		return m.reply(reqGetConfig)
	}
	if b := get(0, 8, 8); len(b) != 20 || !bytes.Equal(b[12:], u64(testCID)) {
		t.Errorf("configuration %x", b)
	}
	if b := get(4, 4, 4); len(b) != 16 || !bytes.Equal(b[12:], make([]byte, 4)) {
		t.Errorf("second half of configuration %x", b)
	}
	for _, bad := range [][]byte{get(0, 9, 9), get(8, 1, 1), get(1<<32-1, 2, 2), get(0, 8, 7)} {
		if len(bad) != 0 {
			t.Errorf("configuration out of range: %x", bad)
		}
	}
}

func TestQueriesAndRefusals(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	m.write(reqGetQueueNum, 0, nil)
	if b := m.reply(reqGetQueueNum); !bytes.Equal(b, u64(ringCount)) {
		t.Errorf("queues %x", b)
	}
	m.write(reqGetProtocolFeatures, 0, nil)
	if b := m.reply(reqGetProtocolFeatures); !bytes.Equal(b, u64(offeredProtocolFeatures)) {
		t.Errorf("protocol features %x", b)
	}
	far := (&driverRing{m: m, index: rxRing, base: 2 * regionSize}).addrPayload()
	odd := (&driverRing{m: m, index: rxRing, base: 1}).addrPayload()
	for name, verdict := range map[string]uint64{
		"unknown message":     m.ask(99, nil),
		"feature not offered": m.ask(reqSetFeatures, u64(1<<29)),
		"protocol feature":    m.ask(reqSetProtocolFeatures, u64(1)),
		"short number":        m.ask(reqSetFeatures, []byte{1}),
		"no such ring":        m.ask(reqSetVringNum, state32(ringCount, 128)),
		"ring size 0":         m.ask(reqSetVringNum, state32(eventRing, 0)),
		"ring size 3":         m.ask(reqSetVringNum, state32(eventRing, 3)),
		"ring too big":        m.ask(reqSetVringNum, state32(eventRing, 1<<16)),
		"kick without fd":     m.ask(reqSetVringKick, u64(eventRing)),
		"ring without kick":   m.ask(reqSetVringKick, u64(eventRing|vringNoFD)),
		"two fds":             m.ask(reqSetVringCall, u64(eventRing), m.memfd, m.memfd),
		"kick is a file":      m.ask(reqSetVringKick, u64(eventRing), m.memfd),
		"table without fds":   m.ask(reqSetMemTable, m.memTable()),
		"table too short":     m.ask(reqSetMemTable, m.memTable()[:40], m.memfd, m.memfd),
		"table too long":      m.ask(reqSetMemTable, u64(9)),
		"ring outside memory": m.ask(reqSetVringAddr, far),
	} {
		if verdict != 1 {
			t.Errorf("%s: no error", name)
		}
	}
	// The device works as before, except for the ring that was just moved away.
	m.must(reqSetVringAddr, m.rx.addrPayload())
	m.hostConnects()
	if m.ask(reqSetVringAddr, odd) != 1 {
		t.Error("ring at an odd address: no error")
	}
}

func TestMemTableRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	for name, r := range map[string][4]uint64{
		"empty":               {0, 0, 0, 0},
		"beyond the file":     {0, 2*regionSize + 1, 0, 0},
		"offset beyond":       {0, 4096, 0, 2 * regionSize},
		"offset wraps":        {0, 4096, 0, 1<<64 - 4096},
		"guest address wraps": {1<<64 - 4096, 8192, 0, 0},
		"user address wraps":  {0, 8192, 1<<64 - 4096, 0},
		"size huge":           {0, 1<<64 - 1, 0, 0},
	} {
		b := u64(1)
		for _, v := range r {
			b = append(b, u64(v)...)
		}
		if m.ask(reqSetMemTable, b, m.memfd) != 1 {
			t.Errorf("%s: no error", name)
		}
	}
	m.hostConnects()
	// A new table that contains the rings leaves them running.
	m.must(reqSetMemTable, m.memTable(), m.memfd, m.memfd)
	m.hostConnects()
}

// TestFailureWithoutReply checks that without REPLY_ACK a failure ends the session, and an unknown
// message does not.
func TestFailureWithoutReply(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	m.write(99, 0, nil)
	m.write(reqGetQueueNum, 0, nil)
	m.reply(reqGetQueueNum)
	m.write(reqSetMemTable, 0, u64(9))
	if err := <-m.served; err == nil {
		t.Error("Serve: no error")
	}
}

func TestNonsenseMessage(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"version":  append(state32(1, 0), 0, 0, 0, 0),
		"too long": append(state32(1, flagVersion), 0xff, 0xff, 0xff, 0xff),
	} {
		m := bareMachine(t)
		m.conn.Write(b)
		if err := <-m.served; err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMessageInPieces(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	b := appendMessage(nil, message{request: reqSetFeatures, flags: flagVersion, payload: u64(featureVersion1)})
	b = appendMessage(b, message{request: reqGetFeatures, flags: flagVersion})
	for i := range b {
		m.conn.Write(b[i : i+1])
	}
	m.reply(reqGetFeatures)
}

func TestTooManyDescriptors(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	fds := make([]int, maxMessageFDs+1)
	for i := range fds {
		fds[i] = m.memfd
	}
	m.write(reqSetOwner, 0, nil, fds...)
	if err := <-m.served; err == nil {
		t.Error("no error")
	}
}

// TestFrontendLeavesInMessage checks that the descriptors of an incomplete message are closed.
func TestFrontendLeavesInMessage(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	b := appendMessage(nil, message{request: reqSetMemTable, flags: flagVersion, payload: m.memTable()})
	if _, _, err := m.conn.WriteMsgUnix(b[:20], unix.UnixRights(m.memfd, m.memfd), nil); err != nil {
		t.Fatal(err)
	}
	m.conn.Close()
	if err := <-m.served; err != nil {
		t.Error(err)
	}
}

// TestPause checks that a machine that is paused and goes on keeps its connections and their data.
func TestPause(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	rx, tx := m.stopRing(m.rx), m.stopRing(m.tx)
	io.WriteString(c, "meanwhile")
	waiting := m.dialHost("CONNECT 1000\n")
	m.startRing(m.rx, rx)
	m.startRing(m.tx, tx)
	var request header
	for range 2 {
		switch h, data := m.recv(); {
		case h.op == opData && h.srcPort == p.hostPort && string(data) == "meanwhile":
		case h.op == opRequest:
			request = h
		default:
			t.Fatalf("packet %+v", h)
		}
	}
	peer{m: m, guestPort: 1000, hostPort: request.srcPort}.send(opResponse, 0, nil)
	readSome(t, waiting, "OK ")
	p.send(opData, 0, []byte("hello"))
	readSome(t, c, "hello")
}

// TestDriverRestarts checks that a driver that starts over has no connections.
func TestDriverRestarts(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, _ := m.hostConnects()
	m.stopRing(m.rx)
	m.stopRing(m.tx)
	clear(m.mem[:2*ringSpace])
	m.rx.avail, m.rx.used, m.tx.avail, m.tx.used = 0, 0, 0, 0
	m.txFree = m.txFree[:0]
	for i := range txSlots {
		m.txFree = append(m.txFree, i)
	}
	m.startRing(m.rx, 0)
	m.startRing(m.tx, 0)
	m.postAll()
	wantEOF(t, c)
	m.quiet()
	m.hostConnects()
}

// TestHostWaitsForDriver checks that no connection is accepted before there is a driver.
func TestHostWaitsForDriver(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	c := m.dialHost("CONNECT 1000\n")
	m.start(0, 0)
	m.postAll()
	h, _ := m.want(opRequest)
	m.send(header{srcPort: 1000, dstPort: h.srcPort, op: opResponse}, nil)
	readSome(t, c, "OK ")
}

func TestResetOwner(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, _ := m.hostConnects()
	m.must(reqResetOwner, nil)
	wantEOF(t, c)
}

// TestMemoryShrinks checks that lost memory ends Serve and not the process.
func TestMemoryShrinks(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, _ := m.hostConnects()
	if err := unix.Ftruncate(m.memfd, 0); err != nil {
		t.Fatal(err)
	}
	signal(m.tx.kick)
	if err := <-m.served; err == nil {
		t.Error("no error")
	}
	wantEOF(t, c)
}

func (m *machine) wantErr(r *driverRing) {
	m.t.Helper()
	r.err.SetReadDeadline(time.Now().Add(soon))
	if _, err := r.err.Read(make([]byte, 8)); err != nil {
		m.t.Fatalf("ring %d: %v", r.index, err)
	}
}

// TestBadChains checks that bad descriptor chains are returned unused, and that the next one works.
func TestBadChains(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	const table = ringSpace * 3
	indirect := func(ds ...desc) desc {
		for i, d := range ds {
			b := m.mem[table+i*descSize:]
			binary.LittleEndian.PutUint64(b, d.addr)
			binary.LittleEndian.PutUint32(b[8:], d.len)
			binary.LittleEndian.PutUint16(b[12:], d.flags)
			binary.LittleEndian.PutUint16(b[14:], d.next)
		}
		return desc{addr: table, len: uint32(len(ds) * descSize), flags: descIndirect}
	}
	good := desc{addr: txBase, len: headerSize}
	with := func(d desc, flags, next uint16) desc {
		d.flags |= flags
		d.next = next
		return d
	}
	for name, make := range map[string]func() desc{
		"outside memory":       func() desc { return desc{addr: 2 * regionSize, len: headerSize} },
		"past the end":         func() desc { return desc{addr: 2*regionSize - 1, len: headerSize} },
		"address wraps":        func() desc { return desc{addr: 1<<64 - 1, len: headerSize} },
		"length huge":          func() desc { return desc{addr: 0, len: 1<<32 - 1} },
		"short header":         func() desc { return desc{addr: txBase, len: headerSize - 1} },
		"empty":                func() desc { return desc{} },
		"writable":             func() desc { return with(good, descWrite, 0) },
		"loop":                 func() desc { return with(good, descNext, 100) },
		"next out of range":    func() desc { return with(good, descNext, ringSize) },
		"readable after write": func() desc { return with(good, descWrite|descNext, 101) },
		"table outside":        func() desc { return desc{addr: 2 * regionSize, len: descSize, flags: descIndirect} },
		"table at the end":     func() desc { return desc{addr: 2*regionSize - 8, len: descSize, flags: descIndirect} },
		"table empty":          func() desc { return desc{addr: table, flags: descIndirect} },
		"table odd":            func() desc { return desc{addr: table, len: descSize + 1, flags: descIndirect} },
		"table too long":       func() desc { return desc{addr: table, len: (ringSize + 1) * descSize, flags: descIndirect} },
		"table with next":      func() desc { return with(indirect(good), descNext, 101) },
		"table in table":       func() desc { return indirect(desc{addr: table, len: descSize, flags: descIndirect}) },
		"table loop":           func() desc { return indirect(with(good, descNext, 1), with(good, descNext, 0)) },
		"table next outside":   func() desc { return indirect(with(good, descNext, 1)) },
	} {
		m.tx.setDesc(100, make())
		m.tx.setDesc(101, good)
		m.tx.offer(100)
		if head, n, err := m.tx.take(soon); err != nil || head != 100 || n != 0 {
			t.Fatalf("%s: descriptor %d, %d bytes, %v", name, head, n, err)
		}
	}
	m.quiet()
	// A header in one-byte pieces is valid.
	var b [headerSize]byte
	h := header{srcCID: testCID, dstCID: hostCID, srcPort: 8, dstPort: 9, typ: typeStream, op: opData}
	h.encode(&b)
	ds := []desc{}
	for i, c := range b {
		m.mem[txBase+100*i] = c
		ds = append(ds, desc{addr: uint64(txBase + 100*i), len: 1, flags: descNext, next: uint16(i + 1)})
	}
	ds[len(ds)-1].flags = 0
	m.tx.setDesc(100, indirect(ds...))
	m.tx.offer(100)
	if h, _ := m.want(opReset); h.dstPort != 8 {
		t.Fatalf("packet %+v", h)
	}
}

func TestBadRxBuffers(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	m.start(0, 0)
	m.dialHost("CONNECT 1000\n")
	for name, d := range map[string]desc{
		"too small": {addr: rxBase, len: headerSize, flags: descWrite},
		"outside":   {addr: 2 * regionSize, len: rxSize, flags: descWrite},
		"readable":  {addr: rxBase, len: rxSize},
	} {
		m.rx.setDesc(100, d)
		m.rx.offer(100)
		if head, n, err := m.rx.take(soon); err != nil || head != 100 || n != 0 {
			t.Fatalf("%s: descriptor %d, %d bytes, %v", name, head, n, err)
		}
	}
	m.postAll()
	m.want(opRequest)
}

// TestBrokenRing checks that an inconsistent ring is stopped and its err descriptor signalled. The
// device and the process live on.
func TestBrokenRing(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(r *driverRing){
		"index jumps":    func(r *driverRing) { r.avail += ringSize; r.offer(0) },
		"head too large": func(r *driverRing) { r.offer(ringSize) },
	} {
		for _, index := range []int{rxRing, txRing} {
			m := bareMachine(t)
			m.start(0, 0)
			r := []*driverRing{m.rx, m.tx}[index]
			breakIt(r)
			if index == rxRing {
				m.send(header{srcPort: 1, dstPort: 2, op: opData}, nil) // a packet to send
			}
			m.wantErr(r)
			m.stopRing(m.rx)
			m.stopRing(m.tx)
			m.conn.Close()
			if err := <-m.served; err != nil {
				t.Errorf("%s: Serve: %v", name, err)
			}
		}
	}
}

func TestCallIsSuppressed(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	b := m.mem[m.rx.availAt():]
	store32(b, 0, uint32(m.rx.avail)<<16|availNoInterrupt)
	m.send(header{srcPort: 1, dstPort: 2, op: opData}, nil)
	if _, _, err := m.tx.take(soon); err != nil {
		t.Fatal(err)
	}
	// A test cannot wait for the absence of a call. A wrong call would come at once.
	m.rx.call.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := m.rx.call.Read(make([]byte, 8)); !os.IsTimeout(err) {
		t.Errorf("called all the same: %v", err)
	}
	if _, _, err := m.rx.take(0); err != nil {
		t.Errorf("no answer: %v", err)
	}
}
