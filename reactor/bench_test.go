package reactor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkEcho measures a round trip of 64 bytes through an echoing stream. The same thread plays
// the far end.
func BenchmarkEcho(b *testing.B) {
	l := newLoop(b, 2)
	far := echo(b, l)
	message, answer := make([]byte, 64), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := send(far, message); err != nil {
			b.Fatal(err)
		}
		if err := l.turn(); err != nil {
			b.Fatal(err)
		}
		if n, err := recv(far, answer); n != len(message) {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkEcho64K(b *testing.B) {
	l := newLoop(b, 2)
	far := echo(b, l)
	message, answer := make([]byte, BufferSize), make([]byte, BufferSize)
	b.SetBytes(2 * BufferSize)
	b.ReportAllocs()
	for b.Loop() {
		for sent, got := 0, 0; got < len(message); {
			if sent < len(message) {
				n, _ := send(far, message[sent:])
				sent += n
			}
			if err := l.turn(); err != nil {
				b.Fatal(err)
			}
			n, _ := recv(far, answer)
			got += n
		}
	}
}

func BenchmarkTimer(b *testing.B) {
	l := newLoop(b, 0)
	var others [100]Timer
	h := expiredFunc(func(*Timer) {})
	for i := range others {
		l.Start(&others[i], time.Duration(i)*time.Second, h)
	}
	var tm Timer
	b.ReportAllocs()
	for b.Loop() {
		l.Start(&tm, 50*time.Second, h)
		tm.Stop()
	}
}

func BenchmarkPool(b *testing.B) {
	p, err := NewPool(8)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		p.Put(p.Get())
	}
}

func BenchmarkSpawn(b *testing.B) {
	l := newLoop(b, 0)
	fd := null(b)
	cmd := &Command{Path: "/bin/true", Args: []string{"true"}, Files: [3]int{fd, fd, fd}}
	var c Child
	h := exitedFunc(func(unix.WaitStatus) {})
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Spawn(&c, cmd, h); err != nil {
			b.Fatal(err)
		}
		for c.Running() {
			if err := l.turn(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
