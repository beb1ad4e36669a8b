package image

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holes reads a file and supplies the zeros of its holes itself, because the kernel would fill its
// cache with them. A file system without SEEK_HOLE has no holes.
type holes struct {
	f *os.File
	// at is the offset of the next byte. data and end are the bounds of the next data.
	at, data, end int64
	size          int64
}

func newHoles(f *os.File, size int64) *holes { return &holes{f: f, size: size} }

func (h *holes) Read(b []byte) (int, error) {
	if h.at >= h.size {
		return 0, io.EOF
	}
	if h.at >= h.end {
		h.seek()
	}
	if h.at < h.data {
		n := int(min(int64(len(b)), h.data-h.at))
		clear(b[:n])
		h.at += int64(n)
		return n, nil
	}
	n, err := h.f.ReadAt(b[:min(int64(len(b)), h.end-h.at)], h.at)
	if n > 0 {
		h.at += int64(n)
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		h.data, h.end = h.size, h.size // it was truncated: the rest is zeros
		return 0, nil
	}
	return 0, err
}

// seek finds the next data, at h.at or after it.
func (h *holes) seek() {
	data, err := unix.Seek(int(h.f.Fd()), h.at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		data = h.size // only a hole is left
	case err != nil:
		h.data, h.end = h.at, h.size
		return
	}
	end, err := unix.Seek(int(h.f.Fd()), data, unix.SEEK_HOLE)
	if err != nil {
		end = h.size
	}
	h.data, h.end = min(data, h.size), min(max(end, data), h.size)
}
