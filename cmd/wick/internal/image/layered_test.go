package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"wick/cmd/wick/internal/cache"
)

// TestLayered checks when a root of layers is made anew: after a change of a layer, or without
// layers after one of the content.
func TestLayered(t *testing.T) {
	needs(t, "mksquashfs")
	dir, store, init := t.TempDir(), cache.Dir(t.TempDir()), initFile(t)
	tree := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, "etc/name"), name, 0o644)
		return path
	}
	get := func(source string, layers ...string) string {
		t.Helper()
		if layers == nil {
			layers = []string{}
		}
		root, err := Layered(t.Context(), store, source, layers, init)
		if err != nil {
			t.Fatal(err)
		}
		return root.Path
	}
	low, other, shown := tree("low"), tree("other"), tree("shown")
	first := get(shown, low)
	expect(t, first, map[string]string{"/etc/name": "-rw-r--r-- 0/0 5"})
	copied := filepath.Join(dir, "copy")
	if out, err := exec.Command("cp", "-a", shown, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	if got := get(copied, low); got != first {
		t.Errorf("another mount of the same layers made %s, want %s", got, first)
	}
	if got := get(shown, low, other); got == first {
		t.Error("one layer more made the same image")
	}
	write(t, filepath.Join(low, "etc/more"), "", 0o644)
	if got := get(shown, low); got == first {
		t.Error("a changed layer made the same image")
	}

	content := get(shown)
	if got := get(copied); got != content {
		t.Errorf("a copy made %s, want %s", got, content)
	}
	write(t, filepath.Join(copied, "etc/name"), "CHANGED", 0o644)
	if got := get(copied); got == content {
		t.Error("a changed copy made the same image")
	}
}
