package client

// ring is a queue of bytes. It grows as needed and never shrinks; its user limits its size.
type ring struct {
	b     []byte
	start int
	n     int
}

// ringMin is the least size of a ring, in bytes.
const ringMin = 4 << 10

// put appends a copy of p.
func (r *ring) put(p []byte) {
	if r.n+len(p) > len(r.b) {
		r.grow(r.n + len(p))
	}
	end := r.start + r.n
	if end >= len(r.b) {
		end -= len(r.b)
	}
	k := copy(r.b[end:], p)
	copy(r.b, p[k:])
	r.n += len(p)
}

// grow makes room for n bytes. Slices that at has returned stay valid, in the old memory.
func (r *ring) grow(n int) {
	size := max(len(r.b), ringMin)
	for size < n {
		size *= 2
	}
	b := make([]byte, size)
	first := r.at(0)
	copy(b[copy(b, first):], r.at(len(first)))
	r.b, r.start = b, 0
}

// at returns the contiguous part from offset on, up to where the ring wraps. It is valid until it
// is dropped.
func (r *ring) at(offset int) []byte {
	if offset >= r.n {
		return nil
	}
	from, to := r.start+offset, r.start+r.n
	if from >= len(r.b) {
		return r.b[from-len(r.b) : to-len(r.b)]
	}
	return r.b[from:min(to, len(r.b))]
}

// drop removes n bytes from the front.
func (r *ring) drop(n int) {
	r.start += n
	if r.start >= len(r.b) {
		r.start -= len(r.b)
	}
	if r.n -= n; r.n == 0 {
		r.start = 0
	}
}
