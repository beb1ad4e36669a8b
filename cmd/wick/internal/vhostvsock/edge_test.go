package vhostvsock

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clockedMuxer is a muxer without a device. The test moves its clock.
type clockedMuxer struct {
	*muxer
	t   *testing.T
	at  time.Time
	uds string
}

func newClockedMuxer(t *testing.T) *clockedMuxer {
	t.Helper()
	poll, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	m := &clockedMuxer{t: t, at: time.Now(), uds: filepath.Join(t.TempDir(), "uds")}
	m.muxer = newMuxer(testCID, m.uds, poll, slog.New(slog.DiscardHandler))
	m.now = func() time.Time { return m.at }
	t.Cleanup(func() {
		m.dropAll()
		poll.close()
	})
	return m
}

// connects has a host program ask for port 1000, and returns both ends.
func (m *clockedMuxer) connects() (*conn, *os.File) {
	m.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	host := os.NewFile(uintptr(fds[1]), "host program")
	m.t.Cleanup(func() { host.Close() })
	m.connectGuest(fds[0], 1000)
	return m.conns[connKey{hostPort: m.lastPort, guestPort: 1000}], host
}

// said returns all packets that the muxer has for the guest.
func (m *clockedMuxer) said() (ops []op) {
	m.t.Helper()
	var h header
	for m.fill(&h, [][]byte{make([]byte, 4096)}) {
		ops = append(ops, h.op)
	}
	return ops
}

// answer sends the guest's packet on a connection.
func (m *clockedMuxer) answer(c *conn, o op) {
	h := header{srcCID: testCID, dstCID: hostCID, srcPort: 1000, dstPort: c.key.hostPort, typ: typeStream, op: o, bufAlloc: window}
	m.receive(&h, nil, true)
}

// later moves the time and runs the timers.
func (m *clockedMuxer) later(d time.Duration) {
	m.at = m.at.Add(d)
	m.expire()
}

// TestDeadlineOfConnectEndsWithIt accepts a connect in time. Its deadline is then void, and only
// one that is set later counts.
func TestDeadlineOfConnectEndsWithIt(t *testing.T) {
	t.Parallel()
	m := newClockedMuxer(t)
	c, _ := m.connects()
	if got := m.said(); len(got) != 1 || got[0] != opRequest {
		t.Fatalf("said %v, want a request", got)
	}
	m.later(patience / 2)
	m.answer(c, opResponse)
	m.later(10 * patience)
	if c.state != stateEstablished || len(m.said()) > 0 {
		t.Fatalf("state %d long after the connect, want established", c.state)
	}

	// A second connection begins to close while the deadline of its connect still runs.
	c, host := m.connects()
	m.said()
	m.later(patience / 2)
	m.answer(c, opResponse)
	// unread bytes would be an error of the stream
	if _, err := host.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	host.Close()
	m.streamReady(c, unix.EPOLLIN|unix.EPOLLHUP)
	if got := m.said(); len(got) != 1 || got[0] != opShutdown {
		t.Fatalf("said %v, want a shutdown", got)
	}
	m.later(patience/2 + time.Millisecond)
	if got := m.said(); len(got) > 0 {
		t.Errorf("said %v at the deadline of the connect, want nothing", got)
	}
	m.later(patience / 2)
	if got := m.said(); len(got) != 1 || got[0] != opReset {
		t.Errorf("said %v at the deadline of the close, want a reset", got)
	}
}

// TestGuestHearsNothingOfWhatItDidNotKnow ends connections in every way. Before their REQUEST went
// out the guest is not told; after it the guest is.
func TestGuestHearsNothingOfWhatItDidNotKnow(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(m *clockedMuxer, c *conn){
		"out of patience":   func(m *clockedMuxer, _ *conn) { m.later(patience) },
		"connections reset": func(m *clockedMuxer, _ *conn) { m.killAll() },
		"stream failed":     func(m *clockedMuxer, c *conn) { m.kill(c, "the host program left") },
	} {
		for _, requested := range []bool{false, true} {
			m := newClockedMuxer(t)
			c, host := m.connects()
			want := 0
			if requested {
				m.said()
				want = 1
			}
			end(m, c)
			if got := m.said(); len(got) != want || want > 0 && got[0] != opReset {
				t.Errorf("%s, requested %v: said %v, want %d resets", name, requested, got, want)
			}
			if _, err := host.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: the host program reads %v, want its end", name, err)
			}
		}
	}
}

// TestCredit has the guest send nonsensical figures, which give it no data.
func TestCredit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ sent, window, passed, want uint32 }{
		{0, 10, 0, 10}, {4, 10, 0, 6}, {10, 10, 0, 0}, {10, 10, 4, 4}, {10, 10, 10, 10},
		{10, 5, 0, 0}, {10, 5, 4, 0}, {10, 0, 10, 0}, // it shrinks its window
		// it has passed on more than it got
		{10, 100, 11, 0}, {10, 100, 999, 0}, {0, 1 << 31, 1, 0},
		{3, 10, 1<<32 - 3, 4}, // the counters have wrapped
	} {
		c := conn{sent: tt.sent, peerWindow: tt.window, peerPassed: tt.passed}
		if got := c.credit(); got != tt.want {
			t.Errorf("credit of sent %d, window %d, passed %d is %d, want %d", tt.sent, tt.window, tt.passed, got, tt.want)
		}
	}
}

// TestFalseCreditGetsNoData sends such figures on a connection whose host program has more to send.
func TestFalseCreditGetsNoData(t *testing.T) {
	t.Parallel()
	for _, figures := range []struct{ window, passed uint32 }{{5, 0}, {0, 0}, {1 << 20, 11}} {
		m := newMachine(t, false)
		c := m.dialHost("CONNECT 1000\n")
		h, _ := m.want(opRequest)
		p := peer{m: m, guestPort: 1000, hostPort: h.srcPort}
		credit := func(o op, alloc, passed uint32) {
			m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: o, bufAlloc: alloc, fwdCnt: passed}, nil)
		}
		credit(opResponse, 10, 0)
		c.Write(make([]byte, 100))
		p.want(opData)
		p.want(opCreditRequest)
		credit(opCreditUpdate, figures.window, figures.passed)
		for range 2 { // each is two turns of the device
			for _, h := range m.settle() {
				if h.op == opData {
					t.Errorf("window %d, passed %d: %d bytes came, want none", figures.window, figures.passed, h.len)
				}
			}
		}
	}
}

// TestWaitForKick has the driver offer a buffer after the ring was found empty and before kicks are
// on. The driver does not kick for it, so the ring must not wait for a kick.
func TestWaitForKick(t *testing.T) {
	t.Parallel()
	q := newRing()
	q.size = 4
	q.desc, q.avail, q.used = make([]byte, 4*descSize), make([]byte, 4+2*4), make([]byte, 4+8*4)
	q.kicks(false)
	store32(q.avail, 0, 1<<16)
	if q.waitForKick() || q.kicksOn() || load16(q.used, 0)&usedNoNotify == 0 {
		t.Errorf("with a buffer offered meanwhile it waits, kicks on: %v", q.kicksOn())
	}
	q.next = 1
	if !q.waitForKick() || !q.kicksOn() || load16(q.used, 0)&usedNoNotify != 0 {
		t.Errorf("an empty ring does not wait, kicks on: %v", q.kicksOn())
	}
}

// TestRestartedDriverGetsNoOldResets holds RSTs for lack of rx buffers, and restarts the driver.
// The RSTs are not for its connections.
func TestRestartedDriverGetsNoOldResets(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	m.start(0, 0)
	for port := range uint32(5) {
		m.send(header{srcPort: port, dstPort: 5, op: opData}, nil)
		if _, _, err := m.tx.take(soon); err != nil { // it is taken, so its RST is queued
			t.Fatal(err)
		}
	}
	m.stopRing(m.rx)
	m.stopRing(m.tx)
	clear(m.mem)
	m.rx.avail, m.rx.used, m.tx.avail, m.tx.used = 0, 0, 0, 0
	m.txFree = m.txFree[:0]
	for i := range txSlots {
		m.txFree = append(m.txFree, i)
	}
	m.startRing(m.rx, 0)
	m.startRing(m.tx, 0)
	m.postAll()
	if got := m.settle(); len(got) > 0 {
		t.Errorf("the new driver gets %+v, want nothing", got)
	}
}

// TestCreditUpdatesAreFew sends 1 MiB to a host program that reads. The guest gets a credit update
// only when its credit is about to run out.
func TestCreditUpdatesAreFew(t *testing.T) {
	t.Parallel()
	const total = 1 << 20
	const most = total / creditStep
	m := newMachine(t, false)
	c, p := m.hostConnects()
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, c, total)
		read <- err
	}()
	chunk := make([]byte, 4<<10)
	updates, told := 0, uint32(0)
	for sent := uint32(0); sent < total; sent += uint32(len(chunk)) {
		for window-(sent-told) < uint32(len(chunk)) {
			h, _ := p.want(opCreditUpdate)
			told = h.fwdCnt
			updates++
		}
		p.send(opData, 0, chunk)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	updates += len(m.settle())
	if updates > most || updates < (total-window)/window {
		t.Errorf("%d updates for %d bytes, want at most %d", updates, total, most)
	}
}
