package forward

import (
	"bytes"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// peer is the far end of a forwarded connection, and the host's end of it.
type peer struct {
	*roomtest.Host
	conn   net.Conn
	credit int
	out    []byte
	most   int // the longest output
	closed bool
	done   *framing.Done
}

// newPeer forwards a connection to a server of that network.
func newPeer(t *testing.T, network framing.Network, credit int) *peer {
	t.Helper()
	r := roomtest.New(t, func(r *roomtest.Room) (end func()) {
		s := NewService(Config{Loop: r.Loop, Log: r.Log, Garbage: &r.Garbage, Server: r.Server})
		return s.Close
	})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if network == framing.NetworkUnix {
		ln, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := &peer{Host: r.Dial(), credit: credit}
	request := framing.Connect{Network: network, Credit: uint32(credit), Address: []byte(ln.Addr().String())}
	p.Send(framing.AppendConnect(nil, 1, &request))
	if p.conn, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	p.Want(framing.TypeConnected, 1)
	return p
}

// take reads a frame of the connection.
func (p *peer) take() {
	p.Helper()
	typ, _, payload := p.Next()
	switch typ {
	case framing.TypeOutput:
		_, data, err := framing.ParseOutput(payload)
		if p.credit -= len(data); err != nil || p.credit < 0 {
			p.Fatalf("output: %v, credit %d", err, p.credit)
		}
		p.out = append(p.out, data...)
		p.most = max(p.most, len(data))
	case framing.TypeClose:
		p.closed = true
	case framing.TypeDone:
		d, err := framing.ParseDone(payload)
		if err != nil {
			p.Fatal(err)
		}
		p.done = &d
	default:
		p.Fatalf("got %v", typ)
	}
}

// grant grants n more bytes.
func (p *peer) grant(n int) {
	p.Helper()
	p.credit += n
	p.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, uint32(n)))
}

// TestSplicedOutput has a peer send long content, and end. Each byte arrives once and in its place.
func TestSplicedOutput(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3_000_000)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	for _, x := range []struct {
		name    string
		network framing.Network
		grant   int
		least   int // of the longest output
	}{
		{"plenty", framing.NetworkTCP, 1 << 20, 33_000},
		{"grants", framing.NetworkTCP, 100_000, 33_000},
		{"small grants", framing.NetworkTCP, 10_000, 0},
		{"a Unix socket", framing.NetworkUnix, 1 << 20, 33_000},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, x.network, x.grant)
			go func() {
				p.conn.Write(content)
				p.conn.Close()
			}()
			for !p.closed {
				if p.take(); p.credit < x.grant/2 {
					p.grant(x.grant / 2)
				}
			}
			if !bytes.Equal(p.out, content) {
				t.Errorf("%d bytes, want %d", len(p.out), len(content))
			}
			if p.most < x.least || p.most > 256<<10 {
				t.Errorf("the longest output has %d bytes, want %d at least", p.most, x.least)
			}
		})
	}
}

// TestSplicedReset has a peer reset its connection after long content. The host gets the errno,
// and no close of stream 1.
func TestSplicedReset(t *testing.T) {
	t.Parallel()
	p := newPeer(t, framing.NetworkTCP, 1<<20)
	const size = 2_000_000
	go p.conn.Write(make([]byte, size))
	for len(p.out) < size {
		if p.take(); p.credit < 1<<19 {
			p.grant(1 << 19)
		}
	}
	p.conn.(*net.TCPConn).SetLinger(0)
	p.conn.Close()
	for p.done == nil && !p.closed {
		p.take()
	}
	if p.closed || p.done.Errno != uint32(unix.ECONNRESET) {
		t.Errorf("closed: %v, done %+v, want ECONNRESET", p.closed, p.done)
	}
}
