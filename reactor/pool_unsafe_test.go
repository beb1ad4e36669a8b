package reactor

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var pageSize = os.Getpagesize()

// resident returns the number of pages of b that have memory.
func resident(t *testing.T, b []byte) (pages int) {
	t.Helper()
	in := make([]byte, len(b)/pageSize)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(in))))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, x := range in {
		pages += int(x & 1)
	}
	return pages
}
