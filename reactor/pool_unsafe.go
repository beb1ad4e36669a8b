package reactor

import "unsafe"

// offset is where in arena b begins; a huge number if b is not of it.
func offset(arena, b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
}
