package cache

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// aged makes an entry of a MiB that was last used some hours ago.
func aged(t *testing.T, dir Dir, name string, hours int) {
	t.Helper()
	path := filepath.Join(string(dir), name)
	write(t, path, string(make([]byte, 1<<20)))
	at := time.Now().Add(-time.Duration(hours) * time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func make1(_ context.Context, tmp string) error {
	return os.WriteFile(tmp, make([]byte, 1<<20), 0o600)
}

// TestLeastRecentlyUsedGoes makes an entry in a full cache. It may have 3 of a MiB.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	t.Setenv(LimitVariable, "3.1M")
	dir := Dir(t.TempDir())
	aged(t, dir, "root-a", 4)
	aged(t, dir, "blob-b", 3)
	aged(t, dir, "root-c", 2)
	aged(t, dir, "blob-d", 1)
	if _, err := dir.Get(t.Context(), "root-a", make1); err != nil { // a use
		t.Fatal(err)
	}
	if _, err := dir.Get(t.Context(), "blob-new", make1); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{"blob-d", "blob-new", "root-a"}; !slices.Equal(got, want) {
		t.Errorf("the cache has %v, want %v", got, want)
	}
}

// TestUsedStay prunes everything while one entry is used by this process, and another by another
// process.
func TestUsedStay(t *testing.T) {
	dir := Dir(t.TempDir())
	for _, name := range []string{"root-ours", "root-theirs", "root-unused"} {
		aged(t, dir, name, 1)
	}
	if err := os.MkdirAll(filepath.Join(string(dir), "debian-x/lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(string(dir), "root-killed.tmp"), "half")
	write(t, filepath.Join(string(dir), "root-made.tmp"), "half")
	made, err := lock(t.Context(), filepath.Join(string(dir), "root-made.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer made.release()
	if _, err := dir.Get(t.Context(), "root-ours", make1); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Open(filepath.Join(string(dir), "root-theirs"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if err := syscall.Flock(int(theirs.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	removed, err := dir.Prune(0)
	if err != nil || len(removed) != 3 {
		t.Errorf("Prune(0) = %v, %v, want 3 entries", removed, err)
	}
	want := []string{"root-made.lock", "root-made.tmp", "root-ours", "root-theirs"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the cache has %v, want %v", got, want)
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "500000": 500000, "1k": 1024, "512M": 512 << 20, "1.5G": 3 << 29, "10GiB": 10 << 30, "2gb": 2 << 30, "1T": 1 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "1x", "1e300", "nan", "inf", "9999999T"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}
