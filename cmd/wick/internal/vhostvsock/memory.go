package vhostvsock

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// regionSpec describes a piece of the guest's memory: its guest-physical address (guest), its
// address in the front-end (user), and its place in the descriptor that comes with it (offset), all
// in bytes.
type regionSpec struct {
	guest, size, user, offset uint64
}

// region is a mapped regionSpec.
type region struct {
	regionSpec
	data    []byte // the part of mapping that is the region, size bytes
	mapping []byte
}

// memory is the guest's memory. The guest may write to it at any time, so read each value once into
// a copy and check the copy. Only the words that synchronise driver and device are accessed
// atomically: see load16 and store32.
type memory struct {
	regions []region
}

// mapMemory maps the regions, each from the descriptor of the same index. The descriptors remain
// the caller's and may be closed after it returns.
func mapMemory(specs []regionSpec, fds []int) (*memory, error) {
	if len(specs) != len(fds) {
		return nil, fmt.Errorf("map memory: %d regions and %d descriptors", len(specs), len(fds))
	}
	m := &memory{}
	for i, spec := range specs {
		r, err := mapRegion(spec, fds[i])
		if err != nil {
			m.close()
			return nil, err
		}
		m.regions = append(m.regions, r)
	}
	return m, nil
}

func mapRegion(spec regionSpec, fd int) (region, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return region{}, fmt.Errorf("stat memory region: %w", err)
	}
	end := spec.offset + spec.size
	switch {
	case spec.size == 0 || end < spec.offset || end > math.MaxInt,
		spec.guest+spec.size < spec.guest, spec.user+spec.size < spec.user:
		return region{}, fmt.Errorf("map memory region at %#x: size %#x at offset %#x out of range",
			spec.guest, spec.size, spec.offset)
	case uint64(st.Size) < end:
		// An access beyond the end would be a SIGBUS.
		return region{}, fmt.Errorf("map memory region at %#x: ends at %#x of a file of %#x bytes",
			spec.guest, end, st.Size)
	}
	skip := spec.offset % uint64(unix.Getpagesize())
	const access = unix.PROT_READ | unix.PROT_WRITE
	mapping, err := unix.Mmap(fd, int64(spec.offset-skip), int(spec.size+skip), access,
		unix.MAP_SHARED)
	if err != nil {
		return region{}, fmt.Errorf("map memory region at %#x, %#x bytes: %w", spec.guest,
			spec.size, err)
	}
	return region{regionSpec: spec, data: mapping[skip:], mapping: mapping}, nil
}

func (m *memory) close() {
	for _, r := range m.regions {
		if r.mapping != nil {
			unix.Munmap(r.mapping)
		}
	}
	m.regions = nil
}

// guest appends to dst the n bytes at guest-physical address addr, as one piece per region. It
// fails if any of them is not memory.
func (m *memory) guest(dst [][]byte, addr uint64, n uint32) ([][]byte, error) {
	for left := uint64(n); left > 0; {
		piece := m.at(addr, left)
		if piece == nil {
			return dst, fmt.Errorf("no guest memory at %#x", addr)
		}
		dst = append(dst, piece)
		addr += uint64(len(piece))
		left -= uint64(len(piece))
	}
	return dst, nil
}

// at returns up to n bytes at guest-physical address addr, as many as the region there has. It
// returns nil if there is no region.
func (m *memory) at(addr, n uint64) []byte {
	for i := range m.regions {
		r := &m.regions[i]
		// The comparison before it checks the subtraction, while a sum could overflow.
		if addr >= r.guest && addr-r.guest < r.size {
			start := addr - r.guest
			return r.data[start : start+min(n, r.size-start)]
		}
	}
	return nil
}

// user returns the n bytes at the front-end's address addr, which must be in one region.
func (m *memory) user(addr, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if addr >= r.user && addr-r.user < r.size && n <= r.size-(addr-r.user) {
			start := addr - r.user
			return r.data[start : start+n : start+n], nil
		}
	}
	return nil, fmt.Errorf("no memory region holds %d bytes at front-end address %#x", n, addr)
}
