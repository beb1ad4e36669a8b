package bench

import (
	"fmt"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// window is how many bytes of a stream's output a host has granted and not yet read.
const window = 256 << 10

// stream is a process whose stdin and stdout are the host's: a start of the extension, or a
// connection of its own to the naive agent.
type stream interface {
	// send sends up to n equal bytes to stdin, and returns how many were taken at once.
	send(n int) int
	// receive waits for bytes of stdout, and returns how many are there. It returns 0 if credit
	// came instead.
	receive() int
	host() *host
}

// beside runs f against wick's agent and the naive one. The floor's protocol has no streams.
func beside(b *testing.B, f func(b *testing.B, a *agent, open func(command string) stream)) {
	for i, spec := range agents {
		if spec.name == "floor" {
			continue
		}
		b.Run("agent="+spec.name, func(b *testing.B) {
			a := start(b, i)
			f(b, a, func(command string) stream { return open(b, a, command) })
			a.stop()
		})
	}
}

// open starts a command on a connection of its own.
func open(b testing.TB, a *agent, command string) stream {
	h := dial(b, a)
	if a.name == "naive" {
		if err := h.write(framing.AppendFrame(nil, framing.TypeStart, 1, []byte(command))); err != nil {
			b.Fatal(err)
		}
		h.reply(b, framing.TypeStarted)
		return &plain{b: b, h: h}
	}
	c := greet(b, h)
	return c.start(command, 0)
}

// zeros are the sent bytes.
var zeros = make([]byte, window)

// plain is a stream of the naive agent: only its bytes.
type plain struct {
	b testing.TB
	h *host
}

func (p *plain) host() *host { return p.h }

func (p *plain) send(n int) int {
	n, err := unix.SendmsgN(p.h.fd, zeros[:min(n, len(zeros))], nil, nil, unix.MSG_DONTWAIT)
	if err != nil && err != unix.EAGAIN {
		p.b.Fatal(err)
	}
	return max(n, 0)
}

func (p *plain) receive() int {
	n, err := unix.Read(p.h.fd, p.h.mem)
	if err != nil || n == 0 {
		p.b.Fatalf("read %d: %v", n, err)
	}
	return n
}

// greeted is a connection to wick's agent that has the extension.
type greeted struct {
	b        testing.TB
	h        *host
	channels []*channel // by seq
	out      []byte     // the frame under construction
}

// channel is a stream of wick's agent.
type channel struct {
	c        *greeted
	seq      uint32
	credit   int // of stdin
	came     int // bytes of stdout not yet received
	unspoken int // bytes read since the last grant
	total    int
	done     bool // a forwarded connection has ended
}

func greet(b testing.TB, h *host) *greeted {
	h.ask(b, framing.AppendHello(nil, 1, framing.Version), framing.TypeHelloResult)
	return &greeted{b: b, h: h}
}

// start starts a command, which is kept for keepMS after the end of its connection.
func (c *greeted) start(command string, keepMS uint32) *channel {
	s := framing.Start{ID: uint64(len(c.channels) + 1), Shell: true, Stdin: true, KeepMS: keepMS, OutputCredit: window}
	s.Args.Add(command)
	ch := &channel{c: c, seq: uint32(len(c.channels))}
	c.channels = append(c.channels, ch)
	if err := c.h.write(framing.AppendStart(nil, ch.seq, &s)); err != nil {
		c.b.Fatal(err)
	}
	for ch.credit == 0 {
		c.next()
	}
	return ch
}

// next reads a frame and returns its channel, or nil for a pong.
func (c *greeted) next() *channel {
	t, seq, payload, err := c.h.next()
	if err == nil && t == framing.TypePong {
		return nil
	}
	if err != nil || int(seq) >= len(c.channels) {
		c.b.Fatalf("%v of %d: %v", t, seq, err)
	}
	ch := c.channels[seq]
	switch t {
	case framing.TypeStarted:
		s, err := framing.ParseStarted(payload)
		if err != nil {
			c.b.Fatal(err)
		}
		ch.credit = int(s.Credit)
	case framing.TypeConnected:
		m, err := framing.ParseConnected(payload)
		if err != nil {
			c.b.Fatal(err)
		}
		ch.credit = int(m.Credit)
	case framing.TypeClose:
	case framing.TypeDone:
		ch.done = true
	case framing.TypeCredit:
		_, n, err := framing.ParseCredit(payload)
		if err != nil {
			c.b.Fatal(err)
		}
		ch.credit += int(n)
	case framing.TypeOutput:
		_, data, err := framing.ParseOutput(payload)
		if err != nil {
			c.b.Fatal(err)
		}
		ch.arrived(len(data))
	default:
		c.b.Fatalf("%v of %d: %q", t, seq, payload)
	}
	return ch
}

// arrived counts n bytes, and grants them anew from time to time.
func (ch *channel) arrived(n int) {
	ch.came += n
	ch.total += n
	if ch.unspoken += n; ch.unspoken < window/4 {
		return
	}
	if err := ch.c.h.write(framing.AppendCredit(ch.c.out[:0], ch.seq, framing.StreamOutput, uint32(ch.unspoken))); err != nil {
		ch.c.b.Fatal(err)
	}
	ch.unspoken = 0
}

func (ch *channel) host() *host { return ch.c.h }

func (ch *channel) send(n int) int {
	if n = min(n, ch.credit); n == 0 {
		return 0
	}
	ch.credit -= n
	head := framing.AppendHeader(ch.c.out[:0], framing.TypeInput, ch.seq, n)
	sent, err := unix.Writev(ch.c.h.fd, [][]byte{head, zeros[:n]})
	if err == nil && sent < len(head) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = ch.c.h.write(zeros[:len(head)+n-sent])
	}
	if err != nil {
		ch.c.b.Fatal(err)
	}
	return n
}

func (ch *channel) receive() int {
	for credit := ch.credit; ch.came == 0 && ch.credit == credit; {
		ch.c.next()
	}
	n := ch.came
	ch.came = 0
	return n
}

// through sends size bytes through a process that sends them back. The bytes in flight never exceed
// a window, so neither side waits for room while the other does.
func through(s stream, size int) {
	for sent, back := 0, 0; back < size; {
		if n := min(size-sent, window-(sent-back)); n > 0 {
			sent += s.send(n)
		}
		if sent > back {
			back += s.receive()
		}
	}
}

// BenchmarkStream measures the output of a process, and bytes that go through one and come back.
func BenchmarkStream(b *testing.B) {
	b.Run("way=out", func(b *testing.B) {
		beside(b, func(b *testing.B, _ *agent, open func(string) stream) {
			s := open("exec cat /dev/zero")
			b.SetBytes(large)
			for b.Loop() {
				for n := 0; n < large; {
					n += s.receive()
				}
			}
		})
	})
	b.Run("way=both", func(b *testing.B) {
		beside(b, func(b *testing.B, _ *agent, open func(string) stream) {
			s := open("exec cat")
			b.SetBytes(large)
			for b.Loop() {
				through(s, large)
			}
		})
	})
}

// BenchmarkKeystroke measures the time until a process returns a byte that it was sent, all on one
// CPU.
func BenchmarkKeystroke(b *testing.B) {
	beside(b, func(b *testing.B, a *agent, open func(string) stream) {
		defer a.pin(b)()
		s := open("exec cat")
		latencies(b, func() { through(s, 1) })
	})
}

// BenchmarkPingDuringStream measures the round trip on one connection while a process floods
// another, all of which is read.
func BenchmarkPingDuringStream(b *testing.B) {
	beside(b, func(b *testing.B, a *agent, open func(string) stream) {
		s := open("exec cat /dev/zero")
		h := dial(b, a)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					s.receive()
				}
			}
		}()
		ping := pings(1)
		latencies(b, func() { h.ask(b, ping, framing.TypePong) })
		close(stop)
		<-stopped
	})
}

// BenchmarkPingInStream measures the same on the connection of the stream, which the naive agent
// cannot do.
func BenchmarkPingInStream(b *testing.B) {
	b.Run("agent=wick", func(b *testing.B) {
		a := start(b, wick)
		c := greet(b, dial(b, a))
		c.start("exec cat /dev/zero", 0)
		ping := pings(1)
		latencies(b, func() {
			if err := c.h.write(ping); err != nil {
				b.Fatal(err)
			}
			for c.next() != nil {
			}
		})
	})
}

// BenchmarkStreams runs many streams at a time. wick's share one connection, and the naive agent's
// have one each. Fairness is the bytes of the slowest over those of the fastest.
func BenchmarkStreams(b *testing.B) {
	const n, share = 100, 256 << 10
	b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
		beside(b, func(b *testing.B, a *agent, open func(string) stream) {
			const command = "exec cat /dev/zero"
			var receive func() (i, bytes int)
			if a.name == "naive" {
				receive = poll(b, n, func() *host { return open(command).host() })
			} else {
				c := greet(b, dial(b, a))
				for range n {
					c.start(command, 0)
				}
				receive = func() (int, int) {
					ch := c.next()
					n := ch.came
					ch.came = 0
					return int(ch.seq), n
				}
			}
			var came [n]int
			b.SetBytes(n * share)
			for b.Loop() {
				for sum := 0; sum < n*share; {
					i, bytes := receive()
					came[i] += bytes
					sum += bytes
				}
			}
			b.ReportMetric(float64(slices.Min(came[:]))/float64(slices.Max(came[:])), "slowest/fastest")
		})
	})
}

// poll opens n connections. The returned function reads from the next one that has data, in turn.
func poll(b testing.TB, n int, open func() *host) func() (i, bytes int) {
	fds := make([]unix.PollFd, n)
	for i := range fds {
		fds[i] = unix.PollFd{Fd: int32(open().fd), Events: unix.POLLIN}
	}
	at, buf := n, make([]byte, 64<<10)
	return func() (int, int) {
		for {
			for ; at < n; at++ {
				if fds[at].Revents == 0 {
					continue
				}
				bytes, err := unix.Read(int(fds[at].Fd), buf)
				if err != nil || bytes == 0 {
					b.Fatalf("read %d: %v", bytes, err)
				}
				at++
				return at - 1, bytes
			}
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				b.Fatal(err)
			}
			at = 0
		}
	}
}
