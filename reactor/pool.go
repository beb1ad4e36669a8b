package reactor

import "golang.org/x/sys/unix"

const (
	// BufferSize is the size of every buffer, in bytes. Firecracker's vsock takes no more at a
	// time, and a pipe holds as much.
	BufferSize = 64 << 10
	// warm is the initial value of Pool.Warm.
	warm = 2
)

// Pool is a free list of buffers of [BufferSize] bytes, in one mapping of fixed size outside the Go
// heap. A buffer has one owner at a time. A pool takes no memory beyond the pages in use.
type Pool struct {
	// Warm is the number of free buffers that keep their memory. The memory of other free buffers
	// goes back to the system. Warm may be set before the first Get.
	Warm int

	arena []byte
	free  []uint32 // a stack of free buffers that were used; the top ones, at most Warm, are hot
	fresh uint32   // the first buffer that was never used; all after it were not either
	state []bufferState
}

type bufferState uint8

const (
	cold bufferState = iota // free, without memory
	hot                     // free, with the memory it got when it was used
	inUse
)

// NewPool makes a pool of n buffers. An error is an *Error from mmap.
func NewPool(n int) (*Pool, error) {
	arena, err := unix.Mmap(-1, 0, n*BufferSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, wrap("mmap", "buffers", err)
	}
	// A single huge page would take more memory than the rest of the process. The result is
	// ignored, because a kernel without huge pages refuses the advice.
	unix.Madvise(arena, unix.MADV_NOHUGEPAGE)
	return &Pool{
		Warm:  warm,
		arena: arena,
		free:  make([]uint32, 0, n),
		state: make([]bufferState, n),
	}, nil
}

// Get takes a buffer out of the pool. Its length and capacity are BufferSize, and its content is
// undefined. Get returns nil if all buffers are in use.
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

// Put returns a buffer to the pool. Its former owner must not touch it again. Put panics unless b
// is a whole buffer of this pool and in use.
func (p *Pool) Put(b []byte) {
	at := offset(p.arena, b)
	i := at / BufferSize
	if len(b) != BufferSize || i >= uintptr(len(p.state)) || at%BufferSize != 0 ||
		p.state[i] != inUse {
		panic("reactor: buffer given back that is not in use")
	}
	p.state[i] = hot
	p.free = append(p.free, uint32(i))
	if n := len(p.free) - 1 - p.Warm; n >= 0 && p.state[p.free[n]] == hot {
		unix.Madvise(p.at(p.free[n]), unix.MADV_DONTNEED)
		p.state[p.free[n]] = cold
	}
}

// Free returns the number of buffers that Get can still take.
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
