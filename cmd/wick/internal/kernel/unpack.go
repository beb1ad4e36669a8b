package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// errPacking reports a bzImage whose packing is unknown.
var errPacking = errors.New("unknown compression")

// packings lists the known ways of packing a kernel, by the first bytes of its payload.
var packings = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"\x02\x21\x4c\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
	{"\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	}},
}

// unpack writes the vmlinux in a bzImage to a file. The layout is that of the kernel's
// Documentation/arch/x86/boot.rst. The number of setup sectors is at 0x1f1. The packed kernel's
// offset after them is at 0x248, and its length at 0x24c.
func unpack(bzImage, to string) error {
	b, err := os.ReadFile(bzImage)
	if err != nil {
		return fmt.Errorf("unpack the kernel: %w", err)
	}
	setup := int(b[0x1f1])
	if setup == 0 {
		setup = 4
	}
	le := binary.LittleEndian
	start := uint64(setup+1)*512 + uint64(le.Uint32(b[0x248:]))
	size := uint64(le.Uint32(b[0x24c:]))
	if le.Uint16(b[0x206:]) < 0x208 || size < 8 || start+size > uint64(len(b)) {
		return errPacking
	}
	payload := b[start : start+size]
	for _, p := range packings {
		if !bytes.HasPrefix(payload, []byte(p.magic)) {
			continue
		}
		return unpackPayload(payload, p.open, to)
	}
	return errPacking
}

func unpackPayload(payload []byte, open func(io.Reader) (io.Reader, error), to string) error {
	// The kernel's build appends the unpacked size.
	size := binary.LittleEndian.Uint32(payload[len(payload)-4:])
	r, err := open(bytes.NewReader(payload[:len(payload)-4]))
	if err != nil {
		return errPacking
	}
	if c, ok := r.(interface{ Close() }); ok {
		defer c.Close() // zstd's goroutines
	}
	image := make([]byte, size)
	if _, err := io.ReadFull(r, image); err != nil || !bytes.HasPrefix(image, []byte("\x7fELF")) {
		return errPacking
	}
	if err := os.WriteFile(to, image, 0o600); err != nil {
		return fmt.Errorf("unpack the kernel: %w", err)
	}
	return nil
}
