package reactor

import (
	"testing"
	"unsafe"
)

func newPool(t *testing.T, n int) *Pool {
	t.Helper()
	p, err := NewPool(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoolExhaustion(t *testing.T) {
	t.Parallel()
	p := newPool(t, 3)
	defer p.Close()
	seen := map[*byte]bool{}
	var all [][]byte
	for range 3 {
		b := p.Get()
		if len(b) != BufferSize || cap(b) != BufferSize {
			t.Errorf("Get returned %d bytes with capacity %d, want %d", len(b), cap(b), BufferSize)
		}
		seen[&b[0]] = true
		all = append(all, b)
	}
	if len(seen) != 3 || p.Free() != 0 {
		t.Errorf("%d different buffers, Free() = %d, want 3 and 0", len(seen), p.Free())
	}
	if p.Get() != nil {
		t.Error("Get of a fourth buffer succeeded")
	}
	for _, b := range all {
		p.Put(b)
	}
	if p.Free() != 3 {
		t.Errorf("Free() = %d, want 3", p.Free())
	}
}

func TestPoolRefuses(t *testing.T) {
	t.Parallel()
	p := newPool(t, 2)
	defer p.Close()
	other := newPool(t, 2)
	defer other.Close()
	foreign := other.Get()
	defer other.Put(foreign)
	b := p.Get()
	twice := p.Get()
	p.Put(twice)
	for what, f := range map[string]func(){
		"nil":     func() { p.Put(nil) },
		"twice":   func() { p.Put(twice) },
		"foreign": func() { p.Put(foreign) },
		"a slice": func() { p.Put(make([]byte, BufferSize)) },
		"a part":  func() { p.Put(b[10:]) },
		"less":    func() { p.Put(b[:10]) },
		"closing": p.Close,
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Put did not panic", what)
				}
			}()
			f()
		}()
	}
	p.Put(b)
}

// TestPoolBeyond32Bits holds that the buffers of a pool of more than 4 GiB do not overlap. An agent
// with the highest limit on connections has such a pool.
func TestPoolBeyond32Bits(t *testing.T) {
	t.Parallel()
	const n = 1<<32/BufferSize + 2
	p := newPool(t, n)
	defer p.Close()
	var all [n][]byte
	seen := map[*byte]bool{}
	for i := range all {
		all[i] = p.Get()
		seen[&all[i][0]] = true
	}
	if len(seen) != n || p.Get() != nil {
		t.Errorf("%d different buffers, want %d and no more", len(seen), n)
	}
	for _, b := range all {
		p.Put(b)
	}
}

// TestPoolMemory holds that memory goes back to the system when more than Warm buffers are free,
// and that the warm ones keep theirs.
func TestPoolMemory(t *testing.T) {
	t.Parallel()
	const n = 32
	p := newPool(t, n)
	defer p.Close()
	page := pageSize
	if got := resident(t, p.arena); got != 0 {
		t.Errorf("%d pages are resident before use, want 0", got)
	}
	var all [][]byte
	for range n {
		b := p.Get()
		for i := 0; i < len(b); i += page {
			b[i] = 1
		}
		all = append(all, b)
	}
	if got := resident(t, p.arena); got != n*BufferSize/page {
		t.Errorf("%d pages are resident in use, want %d", got, n*BufferSize/page)
	}
	for _, b := range all {
		p.Put(b)
	}
	if got := resident(t, p.arena); got != warm*BufferSize/page {
		t.Errorf("%d pages are resident after use, want %d", got, warm*BufferSize/page)
	}
	// A buffer in constant use keeps its memory.
	for range 10 {
		var some [warm][]byte
		for i := range some {
			some[i] = p.Get()
			if got := resident(t, some[i]); got != BufferSize/page {
				t.Fatalf("%d pages of a warm buffer are resident, want %d", got, BufferSize/page)
			}
		}
		for _, b := range some {
			p.Put(b)
		}
	}
	b := unsafe.SliceData(p.Get())
	p.Put(unsafe.Slice(b, BufferSize))
	if again := p.Get(); unsafe.SliceData(again) != b {
		t.Error("Get returned another buffer than the last one that was put")
	} else {
		p.Put(again)
	}
}

// TestPoolCold holds that a pool with no warm buffers has only the memory of those in use.
func TestPoolCold(t *testing.T) {
	t.Parallel()
	p := newPool(t, 3)
	p.Warm = 0
	defer p.Close()
	a, b := p.Get(), p.Get()
	a[0], b[0], b[len(b)-1] = 1, 1, 1
	p.Put(b)
	if got := resident(t, p.arena); got != 1 {
		t.Errorf("%d pages are resident, want 1, of the buffer in use", got)
	}
	p.Put(a)
	if got := resident(t, p.arena); got != 0 {
		t.Errorf("%d pages are resident after use, want 0", got)
	}
}
