package client

import (
	"context"
	"net"
	"testing"

	"wick/framing"
)

// BenchmarkPing measures one ping at a time and many at once. The guest's end answers from one
// buffer and does not allocate.
func BenchmarkPing(b *testing.B) {
	b.Run("sequential", func(b *testing.B) {
		c := echo(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Ping(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pipelined", func(b *testing.B) {
		c := echo(b)
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Ping(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// echo returns a client whose guest answers only pings.
func echo(b *testing.B) *Client {
	c, p := pair(b)
	go pongs(p.conn)
	b.Cleanup(func() { c.Close() })
	return c
}

func pongs(conn net.Conn) {
	defer conn.Close()
	in, out := make([]byte, 64<<10), make([]byte, 0, 64<<10)
	d := framing.Decoder{Window: len(in)}
	have := 0
	for {
		n, err := conn.Read(in[have:])
		if err != nil {
			return
		}
		have += n
		taken := 0
		out = out[:0]
		for {
			var p framing.Part
			n, err := d.Next(in[taken:have], &p)
			if n == 0 || err != nil {
				break
			}
			taken += n
			out = framing.AppendFrame(out, framing.TypePong, p.Seq, nil)
		}
		have = copy(in, in[taken:have])
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}
