package guesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
)

// writableRoot returns an ext4 with a small system in it.
func writableRoot(t *testing.T, l *fixture) string {
	t.Helper()
	busybox, err := image.Busybox(deadline(t, stepLimit), l.Store, l.Kernel.Arch)
	machinetest.Need(t, err)
	dir := t.TempDir()
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "cat", "head"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(t.TempDir(), "root.ext4")
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-d", dir, disk, "32M").CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return disk
}

// TestWritableRoot boots twice from an ext4 without an overlay. The second machine has the first
// one's file, and the disk is clean after each. The root grows to its device at the first boot, and
// while the second machine runs.
func TestWritableRoot(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.overlay, c.InitArgs = writableRoot(t, l), []string{"--base=/dev/vdb", "--root=rw", "--grow"}
	if err := os.Truncate(c.overlay, 128<<20); err != nil {
		t.Fatal(err)
	}
	for turn, want := range []string{"1\n", "1\n2\n"} {
		v, conn := boot(t, l, c)
		if got := run(t, conn, "head -n 1 /proc/mounts"); !strings.HasPrefix(got, "/dev/vdb / ext4 rw,noatime") {
			t.Errorf("the first mount is %q, want an ext4 on /", got)
		}
		command := "echo 1 >>/kept; cat /kept"
		if turn > 0 {
			command = "echo 2 >>/kept; cat /kept"
		}
		if got := run(t, conn, command); got != want {
			t.Errorf("boot %d: /kept holds %q, want %q", turn+1, got, want)
		}
		ctx := deadline(t, stepLimit)
		least := uint64(100 << 20)
		if turn > 0 {
			v.resize(1, 512)
			least = 400 << 20
			if size, err := conn.Grow(ctx, "/"); size != 512<<20 || err != nil {
				t.Errorf("Grow = %d, %v, want 512 MiB", size, err)
			}
			if trimmed, err := conn.Trim(ctx, ""); trimmed < 400<<20 || err != nil {
				t.Errorf("Trim = %d, %v, want 400 MiB or more", trimmed, err)
			}
		}
		stats, err := conn.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if total, _ := stats.Disk(); total < least {
			t.Errorf("boot %d: the root has %d bytes, want %d or more", turn+1, total, least)
		}
		signal(t, conn, "TERM")
		v.gone()
		wantClean(t, c.overlay)
	}
}
