// Package archive finds out what an archive is, by its first bytes, and takes its compression off.
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

// formats are the compressions, each with what it begins with.
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

// headSize is how many bytes tell a compression, at most.
const headSize = 6

// maxZstdWindow is the most memory that a zstd stream may ask for, in bytes: what zstd --ultra --long=27 does.
const maxZstdWindow = 128 << 20

// openZstd decodes in the caller's goroutine, so that nothing is left behind by a reader that is given up.
func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
}

// Compression names the compression of what begins with head: gzip, zstd, xz, bzip2; or it is empty.
func Compression(head []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(head, f.magic) {
			return f.name
		}
	}
	return ""
}

// Decompress returns the content of r without its compression, if it has one that Compression knows. Its errors are r's, and those of
// what is not whole.
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

// named says in errors what a stream is.
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
