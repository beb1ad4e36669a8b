package wire_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/wire"
)

// taker is a channel that takes input to a pipe, and what the pipe does not take to copied.
type taker struct {
	pipe    [2]int
	took    int
	closed  bool // Pipe returns no pipe
	copied  []byte
	lost    bool
	content []byte // read back from the pipe
}

func (k *taker) End(framing.Stream) {}
func (k *taker) Lost()              { k.lost = true }

func (k *taker) Input(p *framing.Part) bool {
	k.drain()
	k.copied = append(k.copied, p.Data...)
	k.content = append(k.content, p.Data...)
	return true
}

func (k *taker) Pipe(int) int {
	if k.closed {
		return -1
	}
	return k.pipe[1]
}

func (k *taker) Took(n int) { k.took += n }

// drain reads the pipe back.
func (k *taker) drain() {
	b := make([]byte, 1<<20)
	for {
		n, err := unix.Read(k.pipe[0], b)
		if n <= 0 || err != nil {
			return
		}
		k.content = append(k.content, b[:n]...)
	}
}

// newTaker makes a room whose connections have a taker as channel 1.
func newTaker(t *testing.T) (*roomtest.Room, *roomtest.Host, *taker) {
	k := &taker{}
	if err := unix.Pipe2(k.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(k.pipe[0]); unix.Close(k.pipe[1]) })
	r := roomtest.New(t, func(r *roomtest.Room) (end func()) {
		r.Server.Handle(typeExtended, func(c *wire.Conn, p *framing.Part) error {
			c.OpenChannel(p.Seq, k)
			return nil
		})
		r.Server.HandleParts(typeParts, func(c *wire.Conn, p *framing.Part) error {
			if p.Last() {
				c.ReplyEmpty(framing.TypePong, p.Seq)
			}
			return nil
		})
		return func() {}
	})
	h := r.Dial()
	h.Send(roomtest.Frame(typeExtended, 1))
	h.Ping(9)
	return r, h, k
}

// TestTaker sends inputs of all lengths, with other frames between them. A long one that follows
// another soon is spliced, and all bytes arrive in order.
func TestTaker(t *testing.T) {
	t.Parallel()
	r, h, k := newTaker(t)
	var want []byte
	send := func(n int) {
		content := bytes.Repeat([]byte{byte(len(want)>>10 + 1)}, n)
		want = append(want, content...)
		h.Send(roomtest.Input(1, content))
		h.Ping(9)
	}
	check := func(name string, took int) {
		t.Helper()
		r.Do(func() {
			if k.drain(); k.took != took || !bytes.Equal(k.content, want) {
				t.Errorf("%s: %d bytes are spliced, want %d; %d came, want %d", name, k.took, took, len(k.content), len(want))
			}
		})
	}
	const long = 30_000
	send(long)
	check("the first", 0)
	send(long)
	check("the second", long)
	send(100)
	check("a short one", long)
	send(long)
	check("after a short one", 2*long)
	h.Send(framing.AppendFrame(nil, typeParts, 2, make([]byte, 200_000)))
	h.Want(framing.TypePong, 2)
	send(long)
	check("after a long frame of another type", 3*long)
	for range 20 {
		h.Ping(9)
	}
	send(long)
	check("the first after a while", 3*long)
	r.Do(func() { k.closed = true })
	send(long)
	check("without a pipe", 3*long)
	r.Do(func() { k.closed = false })
	send(long)
	send(long)
	check("with a pipe again", 5*long)
	r.Do(func() { fillPipe(k.pipe[1]) })
	r.Do(func() { k.content = nil })
	send(long)
	r.Do(func() {
		if !bytes.Equal(k.copied[len(k.copied)-long:], want[len(want)-long:]) {
			t.Error("a full pipe: other bytes came")
		}
	})
}

// fillPipe writes until a pipe is full.
func fillPipe(fd int) {
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
			return
		}
	}
}

// TestTakerLost ends a connection in the middle of an input that is spliced. The channel has what
// came.
func TestTakerLost(t *testing.T) {
	t.Parallel()
	r, h, k := newTaker(t)
	frame := roomtest.Input(1, make([]byte, 30_000))
	h.Send(frame)
	h.Ping(9)
	h.Send(frame[:20_000])
	h.Close()
	r.Lost(0)
	r.Do(func() {
		if n := len(k.copied) + k.took; !k.lost || k.took == 0 || n != 50_000-framing.HeaderSize {
			t.Errorf("lost: %v, %d bytes spliced, %d in all, want %d", k.lost, k.took, n, 50_000-framing.HeaderSize)
		}
	})
}
