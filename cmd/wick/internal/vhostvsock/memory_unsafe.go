package vhostvsock

import (
	"sync/atomic"
	"unsafe"
)

// Driver and device hand buffers to each other by these words. Go's atomics are sequentially
// consistent, which is stronger than the barriers that virtio asks for (2.7.13, 2.7.7). It asks for
// acquire when an index is read and release when one is written. A full barrier belongs between
// writing one's own index or flags and reading the other side's.

// load16 loads the 16 bits at b[off:], which must be 2-byte aligned memory of a mapping. There is
// no 16-bit atomic, so it loads the aligned 32 bits around them, which are in the same page.
func load16(b []byte, off int) uint16 {
	p := unsafe.Pointer(&b[off : off+2][0])
	shift := uintptr(p) & 2
	word := atomic.LoadUint32((*uint32)(unsafe.Add(p, -int(shift))))
	return uint16(word >> (8 * shift))
}

// store32 stores the 32 bits at b[off:], which must be 4-byte aligned.
func store32(b []byte, off int, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b[off : off+4][0])), v)
}

// aligned reports whether b's first byte is at a multiple of n, a power of two.
func aligned(b []byte, n uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(n-1) == 0
}
