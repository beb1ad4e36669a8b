package client

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"wick/framing"
)

// TestWatch follows a directory, and ends the watch in each way.
func TestWatch(t *testing.T) {
	t.Parallel()
	c, dir := agentClient(t), t.TempDir()
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []WatchEvent{
		{Kind: framing.WatchLook, Dir: true},
		{Kind: framing.WatchCreated, Path: "f"},
		{Kind: framing.WatchRenamed, Path: "f", Other: "g"},
	}
	next := 0
	for e, err := range c.Watch(t.Context(), dir, WatchOptions{Tree: true, Skip: []string{"x", "y"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == framing.WatchModified {
			continue
		}
		if e != want[next] {
			t.Errorf("event %d is %+v, want %+v", next, e, want[next])
		}
		switch next++; next {
		case 1:
			write("y")
			write("f")
		case 2:
			if err := os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "g")); err != nil {
				t.Fatal(err)
			}
		}
		if next == len(want) {
			break
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.Watch(ctx, dir, WatchOptions{}) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a watch whose context ends ends with %v", err)
		}
		cancel()
	}
	for _, err := range c.Watch(t.Context(), dir+"/none", WatchOptions{}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a watch of no file ends with %v, want ENOENT", err)
		}
	}
	for _, err := range c.Watch(t.Context(), dir, WatchOptions{}) {
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a watch of a removed directory ends with %v, want ENOENT", err)
		}
		os.RemoveAll(dir)
	}
}
