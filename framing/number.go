package framing

// The wire's integers are big-endian. These functions replace encoding/binary, which would bring
// reflect into the guest. The compiler turns each into one load or store.

func u16(b []byte) uint16 {
	_ = b[1]
	return uint16(b[0])<<8 | uint16(b[1])
}

func u32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

//go:noinline
func appendU16(dst []byte, v uint16) []byte {
	return append(dst, byte(v>>8), byte(v))
}

//go:noinline
func appendU32(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// within reports whether n bytes fit in left. It compares 64 bits, because a count from the wire
// may not fit an int.
func within(n uint32, left int) bool { return uint64(n) <= uint64(left) }
