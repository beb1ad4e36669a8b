package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// TestHoles checks that holes reads the content of a file wherever its holes are. A file that is
// truncated or grows meanwhile keeps its size.
func TestHoles(t *testing.T) {
	const block = 64 << 10
	for name, at := range map[string][]int64{
		"nothing": nil, "at the end": {0}, "at the begin": {9 * block}, "in between": {0, 4 * block, 9 * block}, "full": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
	} {
		path := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(path)
		must(t, err)
		defer f.Close()
		must(t, f.Truncate(10*block+7))
		for i, offset := range at {
			if name == "full" {
				offset *= block
			}
			_, err := f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, block), offset)
			must(t, err)
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if err := iotest.TestReader(newHoles(f, int64(len(want))), want); err != nil {
			t.Errorf("holes %s: %v", name, err)
		}
		// The given size is read: no byte after it, and zeros for bytes that are gone.
		for _, size := range []int64{3*block + 1, 12 * block} {
			got, err := io.ReadAll(newHoles(f, size))
			if err != nil || int64(len(got)) != size || !bytes.Equal(got[:min(size, int64(len(want)))], want[:min(size, int64(len(want)))]) {
				t.Errorf("holes %s: %d bytes, %v, want %d as in the file", name, len(got), err, size)
			}
		}
	}
}
