package vhostvsock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func readSome(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func wantEOF(t *testing.T, c net.Conn) {
	t.Helper()
	b, err := io.ReadAll(c)
	if len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %q, %v; want the end", b, err)
	}
}

func TestHostConnects(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c := m.dialHost("connect 1000\nearly")
	h, _ := m.want(opRequest)
	if h.srcPort != firstHostPort || h.dstPort != 1000 || h.bufAlloc != window {
		t.Fatalf("request %+v", h)
	}
	p := peer{m: m, guestPort: 1000, hostPort: h.srcPort}
	p.send(opResponse, 0, nil)
	readSome(t, c, "OK 1073741824\n")
	if _, data := p.want(opData); string(data) != "early" {
		t.Fatalf("data %q", data)
	}
	p.send(opData, 0, []byte("answer"))
	readSome(t, c, "answer")

	_, second := m.hostConnects()
	if second.hostPort != firstHostPort+1 {
		t.Errorf("second host port %d", second.hostPort)
	}
}

func TestHostRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c := m.dialHost("CONNECT 7\n")
	h, _ := m.want(opRequest)
	m.send(header{srcPort: 7, dstPort: h.srcPort, op: opReset}, nil)
	wantEOF(t, c)
	m.quiet()
}

func TestHostGreetingInPieces(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c := m.dialHost("CON")
	m.quiet() // the device has seen the first piece
	io.WriteString(c, "NECT 9")
	m.quiet()
	io.WriteString(c, "9\n")
	if h, _ := m.want(opRequest); h.dstPort != 99 {
		t.Fatalf("request %+v", h)
	}
}

func TestHostBadGreeting(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	for _, greeting := range []string{"HELLO 1\n", "CONNECT\n", "CONNECT 4294967296\n", "CONNECT -1\n", "CONNECT 1 2\n",
		"\n", "CONNECT 00000000000000000000000000000000001\n"} {
		wantEOF(t, m.dialHost(greeting))
	}
	m.quiet()
}

func TestHostLeavesBeforeGreeting(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	m.dialHost("CONN").Close()
	m.dialHost("").Close()
	m.hostConnects()
}

// TestPatience checks that 2 s limit a guest's answer, a greeting and a close.
func TestPatience(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	established, p := m.hostConnects()
	started := time.Now()
	unanswered := m.dialHost("CONNECT 7\n")
	m.want(opRequest)
	unfinished := m.dialHost("CONNECT 7")
	established.CloseWrite()
	p.want(opShutdown)
	for range 2 {
		m.want(opReset)
	}
	if d := time.Since(started); d < patience || d > patience+3*time.Second {
		t.Errorf("reset after %v", d)
	}
	wantEOF(t, unanswered)
	wantEOF(t, unfinished)
	wantEOF(t, established)
	m.quiet()
}

func TestGuestConnects(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.guestConnects()
	p.send(opData, 0, []byte("hello"))
	readSome(t, c, "hello")
	io.WriteString(c, "world")
	if _, data := p.want(opData); string(data) != "world" {
		t.Fatalf("data %q", data)
	}
}

func TestGuestRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	m.send(header{srcPort: 5, dstPort: 1000, op: opRequest}, nil)
	if h, _ := m.want(opReset); h.srcPort != 1000 || h.dstPort != 5 {
		t.Fatalf("reset %+v", h)
	}
}

func TestStrayPackets(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	for _, o := range []op{opResponse, opShutdown, opData, opCreditUpdate, opCreditRequest, 77} {
		m.send(header{srcPort: 8, dstPort: 9, op: o}, nil)
		if h, _ := m.want(opReset); h.srcPort != 9 || h.dstPort != 8 {
			t.Fatalf("operation %d: %+v", o, h)
		}
	}
	m.send(header{srcPort: 8, dstPort: 9, op: opReset}, nil)
	m.send(header{srcPort: 8, dstPort: 9, op: opRequest, dstCID: 4}, nil)
	m.send(header{srcPort: 8, dstPort: 9, op: opRequest, srcCID: 4}, nil)
	m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: opReset, srcCID: 4}, nil)
	m.quiet()
	m.send(header{srcPort: 8, dstPort: 9, op: opRequest, typ: 2}, nil)
	if h, _ := m.want(opReset); h.typ != 2 || h.srcPort != 9 {
		t.Fatalf("reset %+v", h)
	}
	// Unknown packets on a connection are ignored.
	p.send(77, 0, nil)
	p.send(opResponse, 0, nil)
	p.send(opData, 0, []byte("still here"))
	readSome(t, c, "still here")
}

func TestHostShutsDown(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	want := bytes.Repeat([]byte("0123456789"), 3000)
	c.Write(want)
	c.CloseWrite()
	var got []byte
	for len(got) < len(want) {
		_, data := p.want(opData)
		got = append(got, data...)
	}
	if !bytes.Equal(got, want) {
		t.Error("data differs")
	}
	if h, _ := p.want(opShutdown); h.flags != shutBoth {
		t.Fatalf("shutdown %+v", h)
	}
	p.send(opData, 0, []byte("lost"))
	p.send(opReset, 0, nil)
	wantEOF(t, c)
	m.quiet()
}

func TestHostVanishes(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	c.Close()
	p.want(opShutdown)
	p.send(opShutdown, shutBoth, nil)
	p.want(opReset)

	// Unread data makes the stream end in an error, and the connection at once.
	c, p = m.hostConnects()
	p.send(opData, 0, []byte("unread"))
	m.quiet()
	c.Close()
	p.want(opReset)
}

func TestGuestCloses(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	p.send(opData, 0, []byte("last words"))
	p.send(opShutdown, shutBoth, nil)
	p.want(opReset)
	readSome(t, c, "last words")
	wantEOF(t, c)
}

func TestGuestShutsDownWriting(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	p.send(opShutdown, shutSend, nil)
	p.send(opData, 0, []byte("after the end"))
	io.WriteString(c, "go on")
	if _, data := p.want(opData); string(data) != "go on" {
		t.Fatalf("data %q", data)
	}
	p.send(opShutdown, shutReceive, nil)
	p.want(opReset)
	wantEOF(t, c)
}

func TestGuestShutsDownReading(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	p.send(opShutdown, shutReceive, nil)
	m.quiet()
	io.WriteString(c, "nobody listens")
	p.send(opData, 0, []byte("still talking"))
	readSome(t, c, "still talking")
	m.quiet()
}

func TestGuestResets(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c, p := m.hostConnects()
	p.send(opReset, 0, nil)
	wantEOF(t, c)
	p.send(opData, 0, []byte("x"))
	p.want(opReset)
}

func TestGuestBreaksProtocol(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	for name, violate := range map[string]func(p peer){
		"request again": func(p peer) { p.send(opRequest, 0, nil) },
		"length a lie": func(p peer) {
			m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: opData, len: 100}, []byte("x"))
		},
		"length too big": func(p peer) {
			m.send(header{srcPort: p.guestPort, dstPort: p.hostPort, op: opData, len: maxPayload + 1}, []byte("x"))
		},
	} {
		c, p := m.hostConnects()
		violate(p)
		if h, _ := m.want(opReset); h.dstPort != p.guestPort {
			t.Fatalf("%s: %+v", name, h)
		}
		wantEOF(t, c)
	}
}

func TestGuestTalksBeforeItAccepts(t *testing.T) {
	t.Parallel()
	m := newMachine(t, false)
	c := m.dialHost("CONNECT 1000\n")
	h, _ := m.want(opRequest)
	p := peer{m: m, guestPort: 1000, hostPort: h.srcPort}
	p.send(opShutdown, shutBoth, nil)
	p.send(opData, 0, []byte("early"))
	p.want(opReset)
	wantEOF(t, c)
}

// TestOutOfDescriptors checks that a process without free descriptors accepts again once it has
// some. It is not parallel, because it uses up the descriptors of the whole process.
func TestOutOfDescriptors(t *testing.T) {
	m := newMachine(t, false)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	var hoard []int
	for {
		fd, err := unix.FcntlInt(uintptr(m.memfd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		hoard = append(hoard, fd)
	}
	unix.Close(hoard[0])
	c := m.dialHost("CONNECT 1000\n") // takes the free one
	m.quiet()
	m.send(header{srcPort: 1, dstPort: 1000, op: opRequest}, nil)
	m.want(opReset)
	closeAll(hoard[1:])
	h, _ := m.want(opRequest)
	peer{m: m, guestPort: 1000, hostPort: h.srcPort}.send(opResponse, 0, nil)
	readSome(t, c, "OK ")
}
