package client

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestRing compares a ring with a slice.
func TestRing(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var ring ring
		var want []byte
		for range 500 {
			if n := r.IntN(6000); r.IntN(2) == 0 && len(want) < 100<<10 {
				p := make([]byte, n)
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				ring.put(p)
				want = append(want, p...)
			} else {
				n = min(n, len(want))
				ring.drop(n)
				want = want[n:]
			}
			offset := r.IntN(len(want) + 1)
			first := ring.at(offset)
			rest := ring.at(offset + len(first))
			if got := append(bytes.Clone(first), rest...); !bytes.Equal(got, want[offset:]) || ring.n != len(want) {
				t.Fatalf("seed %d: %d bytes from %d of %d, want %d", seed, len(got), offset, ring.n, len(want)-offset)
			}
		}
		if len(ring.b) > 256<<10 {
			t.Errorf("it has grown to %d bytes", len(ring.b))
		}
	}
}

func TestOutboxHoldsWhatWasNotTaken(t *testing.T) {
	c, p := pair(t)
	b := newOutbox()
	if b.resume(remote{c, 1}, 0, 10); b.err != nil {
		t.Fatal(b.err)
	}
	if n, err := b.write([]byte("0123456789abcdef")); n != 16 || err != nil {
		t.Fatal(n, err)
	}
	if got := p.inputs(10); got != "0123456789" {
		t.Errorf("got %q", got)
	}
	b.grant(4) // 0..3 were taken
	if got := p.inputs(4); got != "abcd" {
		t.Errorf("got %q", got)
	}
	lost := errors.New("lost")
	b.fail(lost)
	if n, err := b.write([]byte("x")); n != 0 || err != lost {
		t.Errorf("wrote %d, %v", n, err)
	}
	// The guest has taken two more than it had reported.
	if b.resume(remote{c, 2}, 3, 5) || b.resume(remote{c, 2}, 17, 5) {
		t.Error("it goes on with what it has not")
	}
	underway := b.ring.at(0) // what the pump of the lost connection may still hold
	was := string(underway)
	if !b.resume(remote{c, 2}, 6, 10) {
		t.Fatal("it does not go on")
	}
	if got := p.inputs(10); got != "6789abcdef" {
		t.Errorf("got %q", got)
	}
	if n, err := b.write(make([]byte, ringMin-10)); n != ringMin-10 || err != nil {
		t.Fatal(n, err)
	}
	if string(underway) != was {
		t.Errorf("what is under way has become %q", underway)
	}
	b.close()
	if n, err := b.write([]byte("x")); n != 0 || err != syscall.EPIPE {
		t.Errorf("wrote %d, %v", n, err)
	}
}

// inputs reads input frames until there are n bytes.
func (p *peer) inputs(n int) string {
	p.t.Helper()
	var all []byte
	for len(all) < n {
		_, payload := p.expect(0x25)
		all = append(all, payload...)
	}
	return string(all)
}

func TestInboxEnds(t *testing.T) {
	c, _ := pair(t)
	b := newInbox(1, 100)
	if credit, received := b.resume(remote{c, 1}); credit != 100 || received != 0 {
		t.Fatal(credit, received)
	}
	b.opened()
	if err := b.receive(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := b.receive(make([]byte, 1)); !isType[*ProtocolError](err) {
		t.Errorf("more than credit: %v", err)
	}
	lost := errors.New("lost")
	b.fail(lost)
	if n, err := io.Copy(io.Discard, b); n != 100 || err != lost {
		t.Errorf("read %d, %v", n, err)
	}
	if credit, received := b.resume(remote{c, 2}); credit != 100 || received != 100 {
		t.Error(credit, received)
	}
	b.end()
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
}
