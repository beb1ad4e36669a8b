package bench

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// host is the client of all agents. It makes blocking system calls with one buffer, so that its own
// share is small and the same for all.
type host struct {
	fd  int
	buf []byte // read and not yet used
	mem []byte
}

// connect connects to an agent, and waits until it is ready. Its buffer is small, because memory
// for a long one takes longer than an agent's start.
func connect(path string) (*host, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	h := &host{fd: fd, mem: make([]byte, 512)}
	if typ, _, _, err := h.next(); err != nil || typ != framing.TypeReady {
		h.close()
		return nil, fmt.Errorf("not ready: %v, %v", typ, err)
	}
	return h, nil
}

func dial(b testing.TB, a *agent) *host {
	h, err := connect(a.socket)
	if err != nil {
		b.Fatal(err)
	}
	h.mem = make([]byte, 17<<20)
	b.Cleanup(h.close)
	return h
}

func (h *host) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}

func (h *host) write(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(h.fd, p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// fill reads until n unused bytes are buffered.
func (h *host) fill(n int) error {
	if len(h.buf) < n {
		h.buf = h.mem[:copy(h.mem, h.buf)]
	}
	for len(h.buf) < n {
		k, err := unix.Read(h.fd, h.mem[len(h.buf):])
		if err != nil {
			return err
		}
		if k == 0 {
			return io.EOF
		}
		h.buf = h.mem[:len(h.buf)+k]
	}
	return nil
}

// next reads one frame. Its payload is valid until the next call.
func (h *host) next() (t framing.Type, seq uint32, payload []byte, err error) {
	if err := h.fill(framing.HeaderSize); err != nil {
		return 0, 0, nil, err
	}
	be := func(p []byte) uint32 { return uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3]) }
	size := 4 + int(be(h.buf))
	if err := h.fill(size); err != nil {
		return 0, 0, nil, err
	}
	f := h.buf[:size]
	h.buf = h.buf[size:]
	return framing.Type(f[4]), be(f[5:]), f[framing.HeaderSize:], nil
}

// ask sends a request and reads the reply.
func (h *host) ask(b testing.TB, request []byte, want framing.Type) []byte {
	if err := h.write(request); err != nil {
		b.Fatal(err)
	}
	return h.reply(b, want)
}

func (h *host) reply(b testing.TB, want framing.Type) []byte {
	t, _, payload, err := h.next()
	if err != nil || t != want {
		b.Fatalf("got %v %q (%v), want %v", t, payload, err, want)
	}
	return payload
}

func execFrame(command string) []byte {
	return framing.AppendExec(nil, framing.TypeExec, 1, &framing.Exec{Command: []byte(command)})
}

func pings(n int) (p []byte) {
	for i := range n {
		p = framing.AppendFrame(p, framing.TypePing, uint32(i), nil)
	}
	return p
}

// latencies times each of b.N calls and reports their quantiles.
func latencies(b *testing.B, f func()) {
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		at := time.Now()
		f()
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}
