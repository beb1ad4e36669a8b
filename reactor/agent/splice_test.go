package agent

import (
	"bytes"
	"fmt"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// TestSplicedOutput sends long outputs through every way that a frame is made: copied, spliced,
// with little credit, to its cap, of a kept process. Each byte arrives once and in its place.
func TestSplicedOutput(t *testing.T) {
	t.Parallel()
	const size = 3_000_000
	var want []byte
	for i := 0; len(want) < size; i++ {
		want = fmt.Appendln(want, i)
	}
	want = want[:size]
	for _, x := range []struct {
		name          string
		grant         uint32 // at a time
		keep          uint32
		cap           uint64
		terminal      bool
		writer        string
		least, length int // of the longest frame
	}{
		{name: "plenty", grant: plenty, least: 64 << 10},
		{name: "grants", grant: 100_000, least: 32 << 10},
		{name: "small grants", grant: 10_000},
		{name: "kept", grant: 60_000, keep: 60_000},
		{name: "capped", grant: plenty, cap: 1_234_567, least: 64 << 10},
		{name: "terminal", grant: plenty, terminal: true},
		{name: "lines", grant: plenty, writer: " | while read x; do echo $x; done"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := startBox(t)
			h := b.dialHello()
			want := want
			if x.writer != "" || x.terminal {
				want = want[:100_000]
			}
			command := fmt.Sprintf("seq 0 1000000 | head -c %d", len(want))
			if x.terminal {
				command = "stty raw -opost; " + command
			}
			p := h.start(1, framing.Start{
				Shell: true, Args: words(command + x.writer), KeepMS: x.keep, Cap: x.cap, Terminal: x.terminal,
				OutputCredit: x.grant, ErrorsCredit: plenty,
			})
			longest, credit := 0, int(x.grant)
			for came := 0; p.exited == nil; {
				p.next()
				n := len(p.out[1]) - came
				came += n
				longest = max(longest, n)
				if credit -= n; credit < 0 {
					t.Fatalf("%d bytes came without credit", -credit)
				}
				if credit < int(x.grant)/2 && p.exited == nil {
					h.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, x.grant/2))
					credit += int(x.grant / 2)
				}
			}
			if x.cap > 0 {
				want = want[:x.cap]
			}
			if x.writer != "" {
				want = want[:bytes.LastIndexByte(want, '\n')+1]
			}
			if !bytes.Equal(p.out[1], want) {
				t.Errorf("%d bytes, want %d", len(p.out[1]), len(want))
			}
			if longest < x.least || longest > 256<<10 {
				t.Errorf("the longest output has %d bytes, want %d at least", longest, x.least)
			}
		})
	}
}

// TestSplicedPipeOfOthers has the process read its own output while the agent splices it. The
// frames that the agent makes of the rest are not torn.
func TestSplicedPipeOfOthers(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dialHello()
	p := h.shell(1, "head -c 20000000 /dev/zero & for n in 1 2 3 4; do dd if=/proc/self/fd/1 of=/dev/null bs=5000 count=200 2>&3; done 3>/dev/null; wait")
	pings := uint32(0)
	for p.exited == nil {
		typ, seq, payload := h.Next()
		if typ == framing.TypePong {
			continue
		}
		if seq != 1 {
			t.Fatalf("%v of %d", typ, seq)
		}
		if err := p.take(typ, payload); err != nil {
			t.Fatal(err)
		}
		if pings++; pings%16 == 0 {
			h.Send(roomtest.Frame(framing.TypePing, pings))
		}
	}
	if n := len(p.out[1]); n > 20_000_000 || n < 16_000_000 || len(bytes.Trim(p.out[1], "\x00")) > 0 {
		t.Errorf("%d bytes", n)
	}
}
