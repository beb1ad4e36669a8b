package vhostvsock

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, headerSize))
	f.Add(bytes.Repeat([]byte{0xff}, headerSize))
	f.Fuzz(func(t *testing.T, in []byte) {
		var b, again [headerSize]byte
		copy(b[:], in)
		h := parseHeader(&b)
		h.encode(&again)
		if b != again {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add(appendMessage(nil, message{request: reqSetMemTable, flags: flagVersion, payload: (&machine{}).memTable()}))
	f.Add(appendMessage(nil, message{request: reqGetConfig, flags: flagVersion, payload: make([]byte, 20)}))
	f.Add(appendMessage(nil, message{request: reqSetVringAddr, flags: flagVersion, payload: make([]byte, 40)}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < messageHeaderSize {
			return
		}
		m, n, err := parseMessageHeader([messageHeaderSize]byte(in))
		if err != nil {
			return
		}
		if n > maxMessageSize {
			t.Fatalf("payload of %d bytes", n)
		}
		m.payload = in[messageHeaderSize:]
		m.uint64()
		m.vringState()
		m.vringAddr()
		if r, err := m.regionTable(); err == nil && len(r) > maxRegions {
			t.Errorf("%d regions", len(r))
		}
		if b, err := m.configReply(u64(testCID)); err == nil && len(b) != len(m.payload) {
			t.Errorf("reply of %d bytes to a request of %d", len(b), len(m.payload))
		}
	})
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("CONNECT 1000\n"))
	f.Add([]byte("connect  4294967295 \r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if port, err := parseGreeting(in); err == nil && !bytes.Contains(in, []byte{'0' + byte(port%10)}) {
			t.Errorf("%q is port %d", in, port)
		}
	})
}

// FuzzChain has memory of three small regions whose content the fuzzer chooses. The first two are
// adjacent, and the first one holds the ring's descriptor table.
func FuzzChain(f *testing.F) {
	const each, ring = 256, 8
	add := func(head uint16, ds ...desc) {
		var b []byte
		for _, d := range ds {
			b = binary.LittleEndian.AppendUint64(b, d.addr)
			b = binary.LittleEndian.AppendUint32(b, d.len)
			b = binary.LittleEndian.AppendUint16(b, d.flags)
			b = binary.LittleEndian.AppendUint16(b, d.next)
		}
		f.Add(head, b)
	}
	add(0, desc{addr: 100, len: 300, flags: descNext, next: 1}, desc{addr: 1000, len: 256, flags: descWrite})
	add(1, desc{addr: 0, len: 32, flags: descIndirect}, desc{addr: 0, len: 48, flags: descNext | descIndirect})
	add(0, desc{addr: 1<<64 - 1, len: 1<<32 - 1, flags: descNext})
	f.Fuzz(func(t *testing.T, head uint16, content []byte) {
		backing := make([]byte, 3*each)
		copy(backing, content)
		mem := &memory{}
		for i, guest := range []uint64{0, each, 1000} {
			mem.regions = append(mem.regions, region{
				regionSpec: regionSpec{guest: guest, size: each}, data: backing[i*each : (i+1)*each],
			})
		}
		var c chain
		err := c.walk(mem, backing[:ring*descSize], head)
		if n := len(c.readable) + len(c.writable); n > 2*2*ring {
			t.Errorf("%d pieces", n)
		}
		if n := totalLen(c.readable) + totalLen(c.writable); err == nil && n > 2*ring*3*each {
			t.Errorf("%d bytes", n)
		}
		for _, p := range append(c.readable, c.writable...) {
			if len(p) == 0 || len(p) > each {
				t.Errorf("piece of %d bytes", len(p))
			}
		}
	})
}

func TestSplit(t *testing.T) {
	t.Parallel()
	make3 := func() [][]byte { return [][]byte{[]byte("ab"), []byte("c"), []byte("def")} }
	for n := range 8 {
		head, tail := split(make3(), n)
		all := append(bytes.Join(head, nil), bytes.Join(tail, nil)...)
		if string(all) != "abcdef" || totalLen(head) != uint64(min(n, 6)) {
			t.Errorf("split at %d: %q, %q", n, head, tail)
		}
	}
}

func TestFifo(t *testing.T) {
	t.Parallel()
	var f fifo[int]
	next, want := 0, 0
	for round := range 1000 {
		for range round % 7 {
			f.push(next)
			next++
		}
		for range min(round%5, f.len()) {
			if got := f.pop(); got != want {
				t.Fatalf("got %d, want %d", got, want)
			}
			want++
		}
		if f.len() != next-want {
			t.Fatalf("length %d, want %d", f.len(), next-want)
		}
	}
	for f.len() > 10 {
		f.pop()
	}
	if cap(f.items) > 4096 {
		t.Errorf("capacity %d", cap(f.items))
	}
}
