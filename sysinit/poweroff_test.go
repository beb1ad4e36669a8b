//go:build linux

package sysinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHolds checks that a text is found at every place, also across the pieces in which a file is
// read.
func TestHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "table")
	for before := range 9 {
		for _, pad := range []int{0, 4090, 8180} {
			content := strings.Repeat("_", pad+before) + "_S5_" + "tail"
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if !holds(path, "_S5_") {
				t.Errorf("holds(%d bytes, then _S5_) = false, want true", pad+before)
			}
			if holds(path, "_S6_") {
				t.Errorf("holds(%d bytes without it) = true, want false", len(content))
			}
		}
	}
	if holds(path+".missing", "_S5_") {
		t.Error("holds(a file that is missing) = true, want false")
	}
}
