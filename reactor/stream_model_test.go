package reactor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// The handler answers each message with itself, so its model is a plain queue. All input comes out
// once and in order, whatever pauses, yields, partial messages and short writes there are. A
// message is a length of two bytes and that many bytes.

type modelHandler struct {
	hand
	l    *Loop
	r    *rand.Rand
	rest Timer
	pipe [2]int
}

func (m *modelHandler) Input(b []byte) int {
	taken := 0
	for !m.s.Busy() && !m.s.paused {
		if len(b)-taken < 2 {
			break
		}
		size := 2 + int(binary.BigEndian.Uint16(b[taken:]))
		if len(b)-taken < size {
			break
		}
		message := b[taken : taken+size]
		taken += size
		switch m.r.IntN(14) {
		case 0, 1:
			m.s.Send(&text{body: bytes.Clone(message), step: 1 + m.r.IntN(size)})
		case 2:
			m.s.Send(&text{body: bytes.Clone(message), step: size})
			m.s.Flush()
		case 3:
			m.commit(message)
			m.s.Pause()
			m.l.Start(&m.rest, 0, m)
		case 4:
			m.commit(message)
			m.s.Yield()
			return taken
		case 5:
			m.commit(message)
			m.s.Flush()
		case 6, 7:
			m.splice(message)
		default:
			m.commit(message)
		}
	}
	return taken
}

func (m *modelHandler) commit(b []byte) { m.s.Commit(append(m.s.Space(len(b)), b...)) }

// splice commits a message whose end comes from a pipe.
func (m *modelHandler) splice(b []byte) {
	if m.s.spliced > 0 || len(b) < 10 {
		m.commit(b)
		return
	}
	n, err := unix.Write(m.pipe[1], b[9:])
	if err == nil {
		n, err = m.s.SpliceFrom(m.pipe[0], n)
	}
	if err != nil || n != len(b)-9 {
		panic(fmt.Sprint("spliced ", n, err))
	}
	m.s.CommitSpliced(append(m.s.Space(9), b[:9]...))
}

func (m *modelHandler) Expired(*Timer) { m.s.Resume() }

func TestStreamAgainstAQueue(t *testing.T) {
	t.Parallel()
	seeds := uint64(120)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			l := newLoop(t, 2)
			ours, far := pair(t)
			defer unix.Close(far)
			if r.IntN(2) == 0 {
				if err := unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 1+r.IntN(20000)); err != nil {
					t.Fatal(err)
				}
			}
			m := &modelHandler{l: l, r: r}
			m.pipe[0], m.pipe[1] = pipe(t)
			defer closeFD(t, m.pipe[0])
			defer closeFD(t, m.pipe[1])
			m.s.Open(l, ours, "far end", m)
			defer m.rest.Stop()

			var in []byte
			longest := []int{10, 1000, 30000}[r.IntN(3)]
			for len(in) < 300<<10 && len(in) < longest*200 {
				n := r.IntN(longest)
				in = binary.BigEndian.AppendUint16(in, uint16(n))
				for range n {
					in = append(in, byte(r.Uint32()))
				}
			}
			var out []byte
			b := make([]byte, 100000)
			sent := 0
			until(t, l, "the echo", func() bool {
				if r.IntN(3) > 0 && sent < len(in) {
					n, err := unix.Write(far, in[sent:min(len(in), sent+1+r.IntN(100000))])
					if err != nil && err != unix.EAGAIN {
						t.Fatalf("%v; ends %v, failed %v %v", err, m.ends, m.values, m.stacks)
					}
					sent += max(n, 0)
				}
				if r.IntN(3) > 0 {
					n, _ := unix.Read(far, b[:1+r.IntN(len(b)-1)])
					out = append(out, b[:max(n, 0)]...)
				}
				l.stopped = true // the test plays the far end between turns, so that no turn may wait for it
				return len(out) >= len(in) || len(m.ends) > 0 || len(m.values) > 0
			})
			l.stopped = false
			if !bytes.Equal(in, out) || len(m.ends) > 0 || len(m.values) > 0 {
				t.Fatalf("%d bytes in, %d out, %d of them equal; ends %v, panics %v",
					len(in), len(out), same(in, out), m.ends, m.values)
			}
			until(t, l, "the last turn", func() bool { l.stopped = true; return m.s.Idle() && !m.s.paused })
			l.stopped = false
			allFree(t, l)
			quiet(t, l)
		})
	}
}

func same(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
