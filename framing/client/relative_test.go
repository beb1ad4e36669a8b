package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelative checks that relative paths begin at the agent's working directory for every
// operation.
func TestRelative(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	c, dir, ctx := a.dial(), filepath.Dir(strings.TrimPrefix(a.addr, "unix:")), testContext(t)
	name := "relative-" + filepath.Base(filepath.Dir(dir)) // and nothing at the root
	in := func(path string) string { return filepath.Join(dir, path) }
	if err := errors.Join(os.MkdirAll(in(name+"/sub"), 0o700), os.WriteFile(in(name+"/sub/f"), []byte("f"), 0o600), os.Symlink(name, in("link"))); err != nil {
		t.Fatal(err)
	}
	if resolved, err := c.RealPath(ctx, "link/sub/../new"); err != nil || resolved != in(name+"/new") {
		t.Errorf("real path %s, %v", resolved, err)
	}
	var archive bytes.Buffer
	if err := c.TarFrom(ctx, name+"/sub", &archive, TarOptions{}); err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(bytes.NewReader(archive.Bytes())); ; {
		h, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "./f" {
			break
		}
	}
	if err := c.TarTo(ctx, &archive, name+"/to", TarOptions{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(in(name + "/to/f")); err != nil || string(b) != "f" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := c.RemoveAll(ctx, name); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(in(name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
