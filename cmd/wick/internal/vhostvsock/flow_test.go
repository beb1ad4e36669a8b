package vhostvsock

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// settle returns all packets that the device has ready. It sends two packets that are answered by
// RST, so that it need not wait. When the second answer comes, the first packet's turn is over, and
// that turn sent everything.
func (m *machine) settle() (said []header) {
	m.t.Helper()
	for range 2 {
		m.send(header{srcPort: 1, dstPort: 0xdead, op: opShutdown}, nil)
		for {
			h, _ := m.recv()
			if h.op == opReset && h.srcPort == 0xdead {
				break
			}
			said = append(said, h)
		}
	}
	return said
}

// fillStream sends the guest's data to a host program that does not read until no credit is left.
// It returns how much the guest has sent in all. The program has read the first from bytes.
func (p peer) fillStream(from uint32) (sent uint32) {
	p.m.t.Helper()
	chunk := make([]byte, 16<<10)
	sent, told := from, from
	for {
		for room := window - (sent - told); room > 0; room = window - (sent - told) {
			n := min(room, uint32(len(chunk)))
			p.send(opData, 0, chunk[:n])
			sent += n
		}
		p.send(opCreditRequest, 0, nil)
		said := p.m.settle()
		last := said[len(said)-1]
		if last.op != opCreditUpdate || last.srcPort != p.hostPort {
			p.m.t.Fatalf("packet %+v, want a credit update", last)
		}
		if last.fwdCnt == told {
			return sent
		}
		told = last.fwdCnt
	}
}

func TestCreditOfGuest(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	sent := p.fillStream(0)
	if sent < 2*window {
		t.Fatalf("only %d bytes fit", sent)
	}
	// Another connection is not affected.
	other, q := m.hostConnects()
	io.WriteString(other, "hello")
	q.want(opData)
	q.send(opData, 0, []byte("hello"))
	readSome(t, other, "hello")
	// Reading makes room, and the guest is told without asking.
	if _, err := io.CopyN(io.Discard, c, int64(sent)); err != nil {
		t.Fatal(err)
	}
	if h, _ := p.want(opCreditUpdate); sent-h.fwdCnt > window-creditStep {
		t.Fatalf("update %+v after %d bytes", h, sent)
	}
	// Sending more than the credit ends the connection.
	p.fillStream(sent)
	p.send(opData, 0, []byte("x"))
	p.want(opReset)
}

func TestCreditOfHost(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c := m.dialHost("CONNECT 1000\n")
	h, _ := m.want(opRequest)
	p := peer{m: m, guestPort: 1000, hostPort: h.srcPort}
	credit := func(o op, alloc, passed uint32) {
		m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: o, bufAlloc: alloc, fwdCnt: passed}, nil)
	}
	credit(opResponse, 10, 0)
	go c.Write(make([]byte, 20))
	if h, _ := p.want(opData); h.len != 10 {
		t.Fatalf("%d bytes with a credit of 10", h.len)
	}
	p.want(opCreditRequest)
	credit(opCreditUpdate, 10, 0)
	m.quiet()
	credit(opCreditUpdate, 10, 4)
	if h, _ := p.want(opData); h.len != 4 {
		t.Fatalf("%d bytes with a credit of 4", h.len)
	}
	p.want(opCreditRequest)
	credit(opCreditUpdate, 5, 4) // a window that shrinks below the bytes in flight
	credit(opCreditUpdate, 5, 999)
	m.quiet()
	credit(opCreditUpdate, 1<<20, 14)
	if h, _ := p.want(opData); h.len != 6 {
		t.Fatalf("%d bytes, want the last 6", h.len)
	}
}

// TestGuestClosesOnSlowHost checks that unread data is still delivered after the guest closes, if
// the host program reads within 2 s.
func TestGuestClosesOnSlowHost(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	sent := p.fillStream(0)
	p.send(opShutdown, shutBoth, nil)
	m.quiet()
	got, err := io.ReadAll(c)
	if uint32(len(got)) != sent || err != nil {
		t.Fatalf("read %d bytes of %d, %v", len(got), sent, err)
	}
	p.want(opReset)

	c, p = m.hostConnects()
	p.fillStream(0)
	started := time.Now()
	p.send(opShutdown, shutBoth, nil)
	p.want(opReset)
	if d := time.Since(started); d < patience-time.Millisecond {
		t.Errorf("reset after %v", d)
	}
	if rest, _ := io.ReadAll(c); len(rest) == 0 {
		t.Error("nothing left to read")
	}
}

// TestRxBackpressure checks that without rx buffers no packet is lost. The host programs' data
// stays in their streams and RSTs wait. When too many wait the device takes no more packets.
func TestRxBackpressure(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	m.start(0, 0)
	c := m.dialHost("CONNECT 1000\n")
	n := 0
	for ; ; n++ {
		if err := m.trySend(header{srcPort: uint32(n), dstPort: 5, op: opData}, nil, 200*time.Millisecond); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if n < maxResets || n > maxResets+txSlots {
		t.Errorf("%d packets taken", n)
	}
	m.postAll()
	var h header
	for i := 0; i < n; {
		switch got, _ := m.recv(); got.op {
		case opReset:
			if got.dstPort != uint32(i) {
				t.Fatalf("reset %d is for port %d", i, got.dstPort)
			}
			i++
		case opRequest:
			h = got
		}
	}
	if h.op == 0 {
		h, _ = m.want(opRequest)
	}
	m.send(header{srcPort: 1000, dstPort: h.srcPort, op: opResponse, bufAlloc: window}, nil)
	readSome(t, c, "OK ")
}

// TestRxBackpressureOfConnects has a guest that connects and resets by turns and takes no packets.
// Memory must not grow. A gone connection keeps its place in the queue until rx has room. When
// there are too many of them the device takes no more packets.
func TestRxBackpressureOfConnects(t *testing.T) {
	t.Parallel()
	poll, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poll.close()
	uds := filepath.Join(t.TempDir(), "uds")
	l, err := net.Listen("unix", hostPath(uds, 1000))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := newMuxer(testCID, uds, poll, slog.New(slog.DiscardHandler))
	n := 0
	for ; n < 4*maxConns && !m.congested(); n++ {
		h := header{srcCID: testCID, dstCID: hostCID, srcPort: 5, dstPort: 1000, typ: typeStream, op: opRequest}
		m.receive(&h, nil, true)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		h.op = opReset
		m.receive(&h, nil, true)
		m.arm()
	}
	if n < maxConns || n == 4*maxConns || len(m.conns) > 0 {
		t.Errorf("%d connections came and went, and %d are left", n, len(m.conns))
	}
	// With room it goes on.
	if m.fill(&header{}, [][]byte{make([]byte, 1)}) || m.congested() {
		t.Error("there is something in line")
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	l := m.listenHost(1000)
	l.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.t.Cleanup(func() { c.Close() })
		}
	}()
	for i := range maxConns {
		p := peer{m: m, guestPort: uint32(i), hostPort: 1000}
		for p.send(opRequest, 0, nil); ; p.send(opRequest, 0, nil) {
			h, _ := m.recv()
			if h.op == opResponse {
				break
			}
			// The backlog was full. The device refuses then too, and the guest tries again.
		}
	}
	over := peer{m: m, guestPort: 5000, hostPort: 1000}
	over.send(opRequest, 0, nil)
	over.want(opReset)
	c, err := net.Dial("unix", m.uds)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(soon))
	wantEOF(t, c)
	// With one connection less there is room for one.
	peer{m: m, guestPort: 7, hostPort: 1000}.send(opReset, 0, nil)
	over.send(opRequest, 0, nil)
	over.want(opResponse)
	over.send(opRequest, 0, nil)
	over.want(opReset)
	m.hostConnects()
}

// echo is a guest's program behind a guest's kernel. It returns the bytes it gets, keeps to the
// device's credit, gives credit itself, and checks that the device keeps to that.
type echo struct {
	peer
	alloc      uint32
	got, freed uint32 // received; passed on, that is, sent back
	told       uint32 // the last freed that the device was told
	sent       uint32
	peerFreed  uint32
	queue      []byte
}

func (e *echo) packet(o op, data []byte) {
	e.told = e.freed
	e.m.send(header{srcPort: e.guestPort, dstPort: e.hostPort, op: o, bufAlloc: e.alloc, fwdCnt: e.freed}, data)
}

func (e *echo) handle(t *testing.T, h header, data []byte, r *rand.Rand) {
	e.peerFreed = h.fwdCnt
	switch h.op {
	case opData:
		e.got += h.len
		if e.got-e.told > e.alloc {
			t.Errorf("%d bytes under way with a credit of %d", e.got-e.told, e.alloc)
		}
		e.queue = append(e.queue, data...)
	case opCreditRequest:
		e.packet(opCreditUpdate, nil)
	case opShutdown:
		e.packet(opReset, nil)
		return
	}
	for len(e.queue) > 0 {
		room := h.bufAlloc - (e.sent - e.peerFreed)
		n := min(uint32(len(e.queue)), room, 1+r.Uint32N(maxPayload))
		if n == 0 {
			return
		}
		e.freed += n
		e.sent += n
		e.packet(opData, e.queue[:n])
		e.queue = e.queue[n:]
	}
	if e.freed != e.told {
		e.packet(opCreditUpdate, nil)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	const conns, total = 6, 4 << 20
	m := newMachine(t, false)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(i), 2))
			c, err := net.Dial("unix", m.uds)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			io.WriteString(c, "CONNECT 1000\n")
			ok := make([]byte, len("OK 1073741824\n"))
			if _, err := io.ReadFull(c, ok); err != nil {
				t.Error(err)
				return
			}
			data := make([]byte, total)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				for b := data; len(b) > 0; {
					n := min(len(b), 1+r.IntN(200<<10))
					if _, err := c.Write(b[:n]); err != nil {
						t.Error(err)
						return
					}
					b = b[n:]
				}
			}()
			got := make([]byte, total)
			if n, err := io.ReadFull(c, got); err != nil {
				t.Errorf("read %d bytes: %v", n, err)
			}
			if !bytes.Equal(got, data) {
				t.Error("data differs")
			}
		}()
	}
	r := rand.New(rand.NewPCG(1, 1))
	echoes := map[uint32]*echo{}
	for closed := 0; closed < conns; {
		h, data := m.recv()
		if h.op == opRequest {
			e := &echo{peer: peer{m: m, guestPort: h.dstPort, hostPort: h.srcPort}, alloc: 1 + r.Uint32N(256<<10)}
			echoes[h.srcPort] = e
			e.packet(opResponse, nil)
			continue
		}
		e := echoes[h.srcPort]
		if e == nil {
			t.Fatalf("packet %+v of no connection", h)
		}
		e.handle(t, h, data, r)
		if h.op == opShutdown {
			closed++
		}
		if h.op == opReset {
			t.Fatal("connection reset")
		}
	}
	wg.Wait()
}
