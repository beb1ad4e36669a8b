package reactor

import "golang.org/x/sys/unix"

const (
	// BufferSize is the size of every buffer, in bytes. It is the most that a Firecracker vsock takes at a time, and a pipe holds.
	BufferSize = 64 << 10
	// warm is what Pool.Warm is at first.
	warm = 2
)

// Pool is a free list of buffers of [BufferSize] bytes in one mapping of a fixed size, outside the Go heap. Buffers are
// owned by one party at a time. A pool costs no memory but that of the pages in use.
type Pool struct {
	// Warm is the number of free buffers that keep their memory; that of others goes back to the system. It may be set before the first Get.
	Warm int

	arena []byte
	free  []uint32 // indexes of those that were used, a stack; only the topmost, at most Warm, are hot
	fresh uint32   // those from here on were never used
	state []bufferState
}

type bufferState uint8

const (
	cold bufferState = iota // free, without memory
	hot                     // free, with what memory it got when it was used
	inUse
)

// NewPool makes a pool of n buffers. The error is an *Error: mmap's.
func NewPool(n int) (*Pool, error) {
	arena, err := unix.Mmap(-1, 0, n*BufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, wrap("mmap", "buffers", err)
	}
	// One huge page would be more memory than all the rest of the process. It is only advice: a kernel without huge pages refuses it.
	unix.Madvise(arena, unix.MADV_NOHUGEPAGE)
	return &Pool{Warm: warm, arena: arena, free: make([]uint32, 0, n), state: make([]bufferState, n)}, nil
}

// Get takes a buffer, of len and cap BufferSize and unknown contents; nil if all are in use.
//
//go:noinline
func (p *Pool) Get() []byte {
	i := p.fresh
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else if int(i) < len(p.state) {
		p.fresh++
	} else {
		return nil
	}
	p.state[i] = inUse
	return p.at(i)
}

// Put gives a buffer back. Its former owner must not touch it again. It panics if b is not the whole of one of this
// pool's, or not in use.
func (p *Pool) Put(b []byte) {
	at := offset(p.arena, b)
	i := at / BufferSize
	if len(b) != BufferSize || i >= uintptr(len(p.state)) || at%BufferSize != 0 || p.state[i] != inUse {
		panic("reactor: buffer given back that is not in use")
	}
	p.state[i] = hot
	p.free = append(p.free, uint32(i))
	if n := len(p.free) - 1 - p.Warm; n >= 0 && p.state[p.free[n]] == hot {
		unix.Madvise(p.at(p.free[n]), unix.MADV_DONTNEED)
		p.state[p.free[n]] = cold
	}
}

// Free is the number of buffers that Get would give.
func (p *Pool) Free() int { return len(p.free) + len(p.state) - int(p.fresh) }

// Close unmaps the arena. No buffer may be in use.
func (p *Pool) Close() {
	if p.Free() != len(p.state) {
		panic("reactor: pool closed with buffers in use")
	}
	unix.Munmap(p.arena)
}

//go:noinline
func (p *Pool) at(i uint32) []byte {
	at := int(i) * BufferSize
	return p.arena[at : at+BufferSize : at+BufferSize]
}
