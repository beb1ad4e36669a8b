package machine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/vmm"
)

// TestSave saves a running machine of QEMU and starts a copy. Both go on where they were, each with
// a disk of its own. The machine has no vsock device, because QEMU cannot save the one that needs
// nothing of the host.
func TestSave(t *testing.T) {
	t.Parallel()
	spec, choice := bootable(t, `
mount -t ext4 /dev/vdb /mnt
i=0
while :; do i=$((i+1)); echo $i >>/mnt/ticks; echo "tick $i of $(wc -l </mnt/ticks)."; sleep 0.05; done`)
	ctx, tmp := testContext(t), t.TempDir()
	disk := filepath.Join(tmp, "disk")
	if err := image.Overlay(ctx, disk, 16); err != nil {
		t.Fatal(err)
	}
	spec.NoVsock = true
	spec.Drives = append(spec.Drives, vmm.Drive{Path: disk}, vmm.Drive{Path: spec.Drives[0].Path, ReadOnly: true})
	started := func(c Config, until string) *Machine {
		t.Helper()
		console := &watcher{text: until, found: make(chan struct{})}
		c.Dir, c.Console = socketDir(t), console
		m, err := Start(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Kill() })
		select {
		case <-console.found:
		case <-m.Done():
			t.Fatalf("the machine ended: %v", m.Exit())
		case <-ctx.Done():
			t.Fatalf("the console has no %q:\n%s", until, strings.Join(m.ConsoleTail(20), "\n"))
		}
		return m
	}
	m := started(Config{Spec: spec, Choice: choice}, "tick 20 of 20.")
	dir := filepath.Join(tmp, "saved")
	use := Use{Image: "alpine", Command: []string{"sh"}, Process: "1"}
	if err := m.Save(ctx, dir, use, false); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSaved(dir); err != nil || s.Use.Process != "1" || s.Backend != vmm.QEMU || s.Spec.Drives[0].Path != s.Spec.Drives[2].Path {
		t.Errorf("ReadSaved = %+v, %v", s, err)
	}
	for i := range 2 {
		work, err := newDir(false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(work.remove)
		o := Options{From: dir, Init: "-"}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		c, err := o.load(ctx, work)
		if err != nil {
			t.Fatal(err)
		}
		copied := started(c, "tick 50 of 50.")
		if first := copied.ConsoleTail(0)[0]; first == "tick 1 of 1." {
			t.Errorf("copy %d began with %q, want what follows the snapshot", i, first)
		}
		if i == 0 {
			continue
		}
		// A machine that was paused stays so, and a copy can be saved too.
		if err := copied.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if err := copied.Save(ctx, filepath.Join(tmp, "again"), Use{}, true); err != nil {
			t.Error(err)
		}
		if got := status(t, copied); got != "postmigrate" {
			t.Errorf("a paused machine is %s after it was saved", got)
		}
		// The host's disk is full.
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := copied.QMP().Save(ctx, full); err == nil {
			t.Error("Save to a full disk = nil")
		}
		full.Close()
		if err := copied.Unpause(ctx); err != nil {
			t.Error(err)
		}
		if got := status(t, copied); got != "running" {
			t.Errorf("after that it is %s, want that it goes on", got)
		}
	}
	if got := status(t, m); got != "running" {
		t.Errorf("the machine is %s after it was saved", got)
	}

	// After an error the machine runs, and nothing is left.
	if err := m.Save(ctx, dir, use, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Save to an existing directory = %v", err)
	}
	m.config.Spec.Drives[1].Path = filepath.Join(tmp, "missing")
	if err := m.Save(ctx, filepath.Join(tmp, "bad"), use, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Save without a disk = %v", err)
	}
	if got := status(t, m); got != "running" {
		t.Errorf("the machine is %s after it was not saved", got)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 3 {
		t.Errorf("there is %v, want the disk and two snapshots", left)
	}
}

// status returns the state of a machine of QEMU.
func status(t *testing.T, m *Machine) string {
	t.Helper()
	var s struct{ Status string }
	if err := m.QMP().Do(testContext(t), "query-status", nil, &s); err != nil {
		t.Fatal(err)
	}
	return s.Status
}
