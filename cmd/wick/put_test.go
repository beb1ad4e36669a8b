package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"wick/cmd/wick/internal/machine"
	"wick/framing/client"
)

// TestPutTree checks that wick run --put copies a directory to the given path and keeps other files
// there.
func TestPutTree(t *testing.T) {
	socket, _ := agentSocket(t)
	c, err := client.Dial(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.MkdirAll(in("src/sub"), 0o755), os.WriteFile(in("src/sub/f"), []byte("new"), 0o755), os.MkdirAll(in("to/app"), 0o755),
		os.WriteFile(in("to/app/old"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	if err := (&tool{stderr: &errs}).putTree(t.Context(), c, machine.Put{Local: in("src"), Guest: in("to/app")}); err != nil || errs.Len() > 0 {
		t.Fatal(err, errs.String())
	}
	b, err := os.ReadFile(in("to/app/sub/f"))
	_, old := os.Stat(in("to/app/old"))
	if i, _ := os.Stat(in("to/app/sub/f")); err != nil || old != nil || string(b) != "new" || i.Mode() != 0o755 {
		t.Errorf("got %q, %v, %v, %v", b, i, err, old)
	}
}
