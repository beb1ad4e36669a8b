package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoRoom creates containers for which the host has no memory or disk. Nothing is left of them.
func TestNoRoom(t *testing.T) {
	d := containerd(t)
	args := func(id string, more ...string) []string {
		return append(append([]string{"run", "--rm", "--runtime", runtimeName}, more...), testImage, id, "true")
	}
	_, errs, code := d.ctr(t, "", args("memory1", "--annotation", "wick.memory=100000000")...)
	if code == 0 || !strings.Contains(errs, "emory") {
		t.Errorf("a machine of 100 TB: exit code %d, %q", code, errs)
	}
	d.clean(t, "memory1")

	// Another containerd has a full disk for the shims' directories. The mount is its own.
	full := &daemon{bin: d.bin, wrap: []string{
		"unshare", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=` + fullSize + ` wick ` + filepath.Dir(stateDir) + ` && exec "$@"`, "sh",
	}}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("make a mount namespace: %v %s", err, out)
	}
	defer func() {
		full.stop()
		os.RemoveAll(full.dir)
	}()
	if err := full.prepare(); err != nil {
		t.Fatal(err)
	}
	place := fmt.Sprintf("/proc/%d/root%s", full.process.Process.Pid, stateDir)
	fill := filepath.Join(filepath.Dir(place), "fill")
	for _, free := range []int64{0, 64 << 10} {
		if err := os.WriteFile(fill, make([]byte, fullBytes), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
		info, err := os.Stat(fill)
		if err == nil {
			err = os.Truncate(fill, info.Size()-free)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, errs, code := full.ctr(t, "", args("disk1")...)
		if code == 0 || !strings.Contains(errs, "o space left") && !strings.Contains(errs, "ENOSPC") {
			t.Errorf("with %d bytes free: exit code %d, %q %q", free, code, out, errs)
		}
		await(t, "remove the container", func() bool {
			left, _ := filepath.Glob(place + "/*")
			return len(left) == 0
		})
		full.clean(t, "disk1")
	}
}

const (
	fullSize  = "1m"
	fullBytes = 2 << 20
)

// TestUnheard has containerd end while it starts a shim. The shim's server ends too.
func TestUnheard(t *testing.T) {
	d := containerd(t)
	const id = "unheard1"
	bundle := t.TempDir()
	spec := d.must(t, "oci", "spec")
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close() // so that the address cannot be written
	cmd := exec.Command(filepath.Join(d.bin, "containerd-shim-wick-v1"), "-namespace", "default", "-id", id,
		"-address", d.options.address, "start")
	cmd.Dir, cmd.Stdout = bundle, w
	err = cmd.Run()
	w.Close()
	if err == nil {
		t.Error("the start succeeded")
	}
	d.clean(t, id)
}
