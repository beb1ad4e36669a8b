package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/framing"
)

// TestForwardErrors asks for what cannot be.
func TestForwardErrors(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	dir := t.TempDir()
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := busy.Addr().String()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nothing := free.Addr().String()
	free.Close()
	long := strings.Repeat("x", 108)
	for _, test := range []struct {
		call, network, address string
		errno                  error
		words                  string
	}{
		{"dial", "tcp", nothing, syscall.ECONNREFUSED, "connection refused"},
		{"dial", "tcp", "localhost:65536", syscall.EINVAL, "port is not a number"},
		{"dial", "tcp", "localhost:-1", syscall.EINVAL, "port is not"},
		{"dial", "tcp", "localhost:http", syscall.EINVAL, "port is not"},
		{"dial", "tcp", "localhost:0", syscall.EINVAL, "port 0"},
		{"dial", "tcp", "localhost", syscall.EINVAL, "no port"},
		{"dial", "tcp", "", syscall.EINVAL, "no port"},
		{"dial", "tcp", "::1:80", syscall.EINVAL, "in brackets"},
		{"dial", "tcp", "[::1:80", syscall.EINVAL, "in brackets"},
		{"dial", "tcp", "[fe80::1%lo]:80", syscall.EINVAL, "not an IPv6 address"},
		{"dial", "tcp", "127.0.0.256:80", syscall.EINVAL, "not an IPv4 address"},
		{"dial", "tcp", "1.2.3:80", syscall.EINVAL, "not an IPv4 address"},
		{"dial", "tcp", "example.com:80", syscall.EADDRNOTAVAIL, "resolves no name"},
		{"dial", "tcp", "a b:80", syscall.EINVAL, "not a host"},
		{"dial", "unix", dir + "/none", syscall.ENOENT, "no such file"},
		{"dial", "unix", dir, syscall.ECONNREFUSED, "connection refused"},
		{"dial", "unix", "@nosuch.wick", syscall.ECONNREFUSED, "connection refused"},
		{"dial", "unix", "", syscall.EINVAL, "empty"},
		{"dial", "unix", "@", syscall.EINVAL, "empty"},
		{"dial", "unix", "/" + long, syscall.ENAMETOOLONG, "longer than 107"},
		{"dial", "unix", "@" + long, syscall.ENAMETOOLONG, "longer than 107"},
		{"dial", "udp", "localhost:53", net.UnknownNetworkError("udp"), "unknown network"},
		{"listen", "tcp", taken, syscall.EADDRINUSE, "address already in use"},
		{"listen", "tcp", "192.0.2.1:0", syscall.EADDRNOTAVAIL, "assign requested address"},
		{"listen", "unix", dir, syscall.EADDRINUSE, "address already in use"},
		{"listen", "unix", dir + "/none/s", syscall.ENOENT, "no such file"},
		{"listen", "unix", "/" + long, syscall.ENAMETOOLONG, "longer than 107"},
		{"listen", "unixpacket", "/x", net.UnknownNetworkError("unixpacket"), "unknown network"},
	} {
		var err error
		if test.call == "dial" {
			_, err = c.DialContext(testContext(t), test.network, test.address)
		} else {
			_, err = c.Listen(testContext(t), test.network, test.address)
		}
		if !errors.Is(err, test.errno) || !strings.Contains(fmt.Sprint(err), test.words) {
			t.Errorf("%s %s %q: %v, want %v and %q", test.call, test.network, test.address, err, test.errno, test.words)
		}
	}
	// UDP is refused by the guest too.
	_, err = c.operate(testContext(t), framing.FeatureForward, "connect", 64, func(dst []byte, seq uint32) []byte {
		return framing.AppendConnect(dst, seq, &framing.Connect{Network: framing.NetworkUDP, Address: []byte("localhost:53")})
	})
	if !errors.Is(err, syscall.EPROTONOSUPPORT) {
		t.Errorf("udp: %v", err)
	}
}

// TestForwardCancel gives a connect up, by the context of each kind.
func TestForwardCancel(t *testing.T) {
	t.Parallel()
	c := agentClient(t)
	full := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: full}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	waits, err := net.Dial("unix", full)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.DialContext(short, "unix", full); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("dial with a deadline: %v", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	dial := background(func() (net.Conn, error) { return c.DialContext(stopped, "unix", full) })
	stop()
	if o := <-dial; !errors.Is(o.err, context.Canceled) {
		t.Errorf("dial that is cancelled: %v", o.err)
	}
	// A backlog that gets room is waited for.
	dial = background(func() (net.Conn, error) { return c.DialContext(testContext(t), "unix", full) })
	taken, _, err := syscall.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(taken)
	(<-dial).must(t).Close()
}

// TestForwardGuestBreaksTheProtocol checks that a violation on the channel of a connection or a
// listener ends the client.
func TestForwardGuestBreaksTheProtocol(t *testing.T) {
	connected := func(seq uint32) []byte {
		return framing.AppendConnected(nil, seq, &framing.Connected{Credit: 10, Local: []byte("127.0.0.1:1"), Remote: []byte("127.0.0.1:2")})
	}
	listening := func(seq uint32) []byte { return framing.AppendListening(nil, seq, []byte("127.0.0.1:1")) }
	bare := func(typ framing.Type) func(uint32) [][]byte {
		return func(seq uint32) [][]byte { return [][]byte{framing.AppendFrame(nil, typ, seq, nil)} }
	}
	for name, test := range map[string]struct {
		listens bool
		frames  func(seq uint32) [][]byte
	}{
		"more than credit": {false, func(seq uint32) [][]byte {
			return [][]byte{connected(seq), output(seq, 1, strings.Repeat("x", connWindow+1))}
		}},
		"output before connected": {false, func(seq uint32) [][]byte { return [][]byte{output(seq, 1, "x")} }},
		"a stream that is not":    {false, func(seq uint32) [][]byte { return [][]byte{connected(seq), output(seq, 2, "x")} }},
		"output behind its end": {false, func(seq uint32) [][]byte {
			return [][]byte{connected(seq), framing.AppendClose(nil, seq, 1), output(seq, 1, "x")}
		}},
		"a second connected":     {false, func(seq uint32) [][]byte { return [][]byte{connected(seq), connected(seq)} }},
		"a short connected":      {false, bare(framing.TypeConnected)},
		"a short credit":         {false, bare(framing.TypeCredit)},
		"a short done":           {false, bare(framing.TypeDone)},
		"a short error":          {false, bare(framing.TypeError)},
		"a done without a cause": {false, func(seq uint32) [][]byte { return [][]byte{framing.AppendDone(nil, seq, 0, 0, "")} }},
		"another's message":      {false, func(seq uint32) [][]byte { return [][]byte{connected(seq), listening(seq)} }},
		"a second listening":     {true, func(seq uint32) [][]byte { return [][]byte{listening(seq), listening(seq)} }},
		"a short listening":      {true, bare(framing.TypeListening)},
		"a short incoming":       {true, bare(framing.TypeIncoming)},
		"a listener's done":      {true, bare(framing.TypeDone)},
		"output of a listener":   {true, func(seq uint32) [][]byte { return [][]byte{listening(seq), output(seq, 1, "x")} }},
		"connections without end": {true, func(seq uint32) (frames [][]byte) {
			frames = append(frames, listening(seq))
			for id := range uint64(maxArrived + 1) {
				frames = append(frames, framing.AppendIncoming(nil, seq, id, nil))
			}
			return frames
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := pair(t)
			ended := background(func() (struct{}, error) {
				if test.listens {
					ln, err := c.Listen(testContext(t), "tcp", "localhost:0")
					if err == nil {
						<-c.Done()
						_, err = ln.Accept()
						for errors.Is(err, ErrClosed) || err == nil {
							_, err = ln.Accept()
						}
					}
					return struct{}{}, err
				}
				conn, err := c.DialContext(testContext(t), "tcp", "localhost:1")
				for err == nil {
					_, err = conn.Read(make([]byte, 100))
				}
				return struct{}{}, err
			})
			p.hello(everything)
			want := framing.TypeConnect
			if test.listens {
				want = framing.TypeListen
			}
			seq, _ := p.expect(want)
			for _, frame := range test.frames(seq) {
				p.send(frame)
			}
			<-c.Done()
			if err := c.Err(); !isType[*ProtocolError](err) {
				t.Errorf("the client ended with %v", err)
			}
			if err := (<-ended).err; err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestForwardUnsupported asks a guest that cannot forward.
func TestForwardUnsupported(t *testing.T) {
	t.Parallel()
	c, p := pair(t)
	dial := background(func() (net.Conn, error) { return c.DialContext(testContext(t), "tcp", "localhost:1") })
	p.hello(everything &^ (framing.FeatureForward | framing.FeaturePorts))
	if err := (<-dial).err; !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("dial: %v", err)
	}
	if _, err := c.Listen(testContext(t), "tcp", "localhost:1"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("listen: %v", err)
	}
	if _, err := c.Ports(testContext(t)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ports: %v", err)
	}
	for _, err := range c.WatchPorts(testContext(t)) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("watch: %v", err)
		}
	}
	if err := c.Require(testContext(t), framing.FeatureForward); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("require: %v", err)
	}
}
