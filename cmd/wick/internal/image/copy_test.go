package image

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCopyFile copies files with and without holes. The copy has the same bytes, and uses no more
// of the disk than about what the original does.
func TestCopyFile(t *testing.T) {
	t.Parallel()
	const block = 64 << 10
	for name, at := range map[string][]int64{
		"empty": nil, "begin": {0}, "end": {99 * block}, "between": {block, 50 * block},
	} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		f, err := os.Create(from)
		must(t, err)
		must(t, f.Truncate(100*block+7))
		for _, offset := range at {
			_, err := f.WriteAt(bytes.Repeat([]byte("x"), block), offset)
			must(t, err)
		}
		must(t, f.Close())
		must(t, CopyFile(t.Context(), to, from))
		want, err := os.ReadFile(from)
		must(t, err)
		got, err := os.ReadFile(to)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the copy differs, %v", name, err)
		}
		var original, copied syscall.Stat_t
		must(t, errors.Join(syscall.Stat(from, &original), syscall.Stat(to, &copied)))
		if copied.Blocks > original.Blocks+64 {
			t.Errorf("%s: the copy has %d blocks, and the original %d", name, copied.Blocks, original.Blocks)
		}
		if err := CopyFile(t.Context(), to, from); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: to an existing file: %v, want ErrExist", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/from", []byte("x"), 0o600))
	in, err := os.Open(dir + "/from")
	must(t, err)
	defer in.Close()
	out, err := os.Create(dir + "/to")
	must(t, err)
	defer out.Close()
	if err := copySparse(ctx, out, in); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that was cancelled: %v", err)
	}
}
