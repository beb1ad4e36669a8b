package reactor

import "unsafe"

// offset returns where in arena b begins. If b is not in it, that is a huge number.
func offset(arena, b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
}
