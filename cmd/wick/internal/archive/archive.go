// Package archive recognises the compression of an archive by its first bytes, and removes it.
package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// formats has the compressions, each with its first bytes.
var formats = []struct {
	name  string
	magic []byte
	open  func(io.Reader) (io.Reader, error)
}{
	{"gzip", []byte{0x1f, 0x8b}, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, openZstd},
	{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}, func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) }},
	{"bzip2", []byte("BZh"), func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

// headSize is the number of bytes that Compression needs.
const headSize = 6

// maxZstdWindow limits the memory that a zstd stream may need, in bytes. zstd --ultra --long=27
// needs this much.
const maxZstdWindow = 128 << 20

// openZstd decodes in the caller's goroutine, so that an abandoned reader leaves none behind.
func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
}

// Compression returns the compression of content that begins with head: gzip, zstd, xz, bzip2 or
// "".
func Compression(head []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(head, f.magic) {
			return f.name
		}
	}
	return ""
}

// Decompress returns a reader of the decompressed content of r. Content without a compression that
// Compression knows is returned unchanged. Errors are those of r and of damaged content.
func Decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, f.magic) {
			z, err := f.open(b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			return &named{f.name, z}, nil
		}
	}
	return b, nil
}

// named adds the name of the compression to errors of a stream.
type named struct {
	name string
	r    io.Reader
}

func (n *named) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", n.name, err)
	}
	return k, err
}
