package guesttest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
)

// newOverlay makes an overlay image.
func newOverlay(t *testing.T, mib int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "overlay.ext4")
	err := image.Overlay(deadline(t, stepLimit), path, mib)
	machinetest.Need(t, err)
	return path
}

// e2fs runs a program of e2fsprogs. It looks in root's directories too, which are often not in the
// PATH.
func e2fs(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		machinetest.Lacking(t, "no "+name+" on this host (as root: apt-get install e2fsprogs)")
	}
	cmd := exec.CommandContext(deadline(t, stepLimit), path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String() + complaint.String(), err
	}
	return out.String(), nil
}

// wantClean checks the whole file system. It must be as after an orderly unmount, with no journal
// to replay and no errors.
func wantClean(t *testing.T, image string) {
	t.Helper()
	if out, err := e2fs(t, "e2fsck", "-f", "-n", image); err != nil || strings.Contains(out, "Fix?") || strings.Contains(out, "recovery") {
		t.Errorf("e2fsck -fn: %v\n%s", err, out)
	}
	out, err := e2fs(t, "dumpe2fs", "-h", image)
	if err != nil {
		t.Errorf("dumpe2fs: %v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "needs_recovery") {
			t.Errorf("the journal is not empty: %s", line)
		}
	}
}

// onDisk returns a file of the guest from its overlay image.
func onDisk(t *testing.T, image, name string) string {
	t.Helper()
	out, err := e2fs(t, "debugfs", "-R", "cat /upper"+name, image)
	if err != nil {
		t.Errorf("debugfs: %v\n%s", err, out)
	}
	return out
}

// sum returns the hash of a file.
func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
