package bench

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// server is the far end of forwarded connections: it sends back all bytes, or only sends.
func server(b testing.TB, sends bool) (address string) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for sends {
					if _, err := c.Write(zeros); err != nil {
						return
					}
				}
				io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// forward connects to an address through the agent. The naive agent takes a connection for each.
func forward(b testing.TB, a *agent, address string) stream {
	if a.name == "naive" {
		return forwardNaive(b, a, address, make([]byte, 1<<20))
	}
	return greet(b, dial(b, a)).connect(address)
}

func forwardNaive(b testing.TB, a *agent, address string, mem []byte) stream {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: a.socket})
	}
	if err != nil {
		b.Fatal(err)
	}
	h := &host{fd: fd, mem: mem}
	h.reply(b, framing.TypeReady)
	h.ask(b, framing.AppendFrame(nil, framing.TypeConnect, 1, []byte(address)), framing.TypeConnected)
	return &plain{b: b, h: h}
}

// connect opens a channel of a forwarded connection.
func (c *greeted) connect(address string) *channel {
	ch := &channel{c: c, seq: uint32(len(c.channels))}
	c.channels = append(c.channels, ch)
	request := framing.Connect{Network: framing.NetworkTCP, Credit: window, Address: []byte(address)}
	if err := c.h.write(framing.AppendConnect(c.out[:0], ch.seq, &request)); err != nil {
		c.b.Fatal(err)
	}
	for ch.credit == 0 {
		c.next()
	}
	return ch
}

// end closes both directions of a connection, and waits until the agent has done so.
func (ch *channel) end() {
	f := framing.AppendClose(ch.c.out[:0], ch.seq, framing.StreamOutput)
	if err := ch.c.h.write(framing.AppendClose(f, ch.seq, framing.StreamInput)); err != nil {
		ch.c.b.Fatal(err)
	}
	for ch.c.next() != ch || !ch.done {
	}
	ch.c.channels = ch.c.channels[:ch.seq]
}

// BenchmarkForward measures the bytes of a forwarded TCP connection: from its peer, and to its peer
// and back.
func BenchmarkForward(b *testing.B) {
	b.Run("way=out", func(b *testing.B) {
		beside(b, func(b *testing.B, a *agent, _ func(string) stream) {
			s := forward(b, a, server(b, true))
			b.SetBytes(large)
			for b.Loop() {
				for n := 0; n < large; {
					n += s.receive()
				}
			}
			s.host().close()
		})
	})
	b.Run("way=both", func(b *testing.B) {
		beside(b, func(b *testing.B, a *agent, _ func(string) stream) {
			s := forward(b, a, server(b, false))
			b.SetBytes(large)
			for b.Loop() {
				through(s, large)
			}
			s.host().close()
		})
	})
}

// BenchmarkForwardByte measures the time until a byte has gone to a peer and come back.
func BenchmarkForwardByte(b *testing.B) {
	beside(b, func(b *testing.B, a *agent, _ func(string) stream) {
		s := forward(b, a, server(b, false))
		latencies(b, func() { through(s, 1) })
		s.host().close()
	})
}

// BenchmarkForwardConnect measures a connection that carries one byte to its peer and back.
func BenchmarkForwardConnect(b *testing.B) {
	beside(b, func(b *testing.B, a *agent, _ func(string) stream) {
		address := server(b, false)
		mem := make([]byte, 64<<10)
		once := func() {
			s := forwardNaive(b, a, address, mem)
			through(s, 1)
			s.host().close()
		}
		if a.name == "wick" {
			c := greet(b, dial(b, a))
			once = func() {
				s := c.connect(address)
				through(s, 1)
				s.end()
			}
		}
		latencies(b, once)
	})
}

// BenchmarkForwardIdle measures the memory of a connection that is open and idle.
func BenchmarkForwardIdle(b *testing.B) {
	beside(b, func(b *testing.B, a *agent, _ func(string) stream) {
		for b.Loop() {
		}
		b.ReportMetric(0, "ns/op")
		const n = 400
		address := server(b, false)
		mem := make([]byte, 64<<10)
		open := func() stream { return forwardNaive(b, a, address, mem) }
		if a.name == "wick" {
			c := greet(b, dial(b, a))
			open = func() stream { return c.connect(address) }
		}
		through(open(), 1)
		before := a.status(b, "VmRSS")
		for range n {
			through(open(), 1)
		}
		b.ReportMetric((a.status(b, "VmRSS")-before)/n, "conn-kB")
	})
}
