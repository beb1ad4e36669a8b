package machine

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
)

// TestRootFirst checks that the root image is made before a kernel is looked for. A source that is
// not a root is refused at once. The user is told what the machine lacks of it.
func TestRootFirst(t *testing.T) {
	dir := shortTemp(t)
	init := filepath.Join(dir, "init")
	root, saved := filepath.Join(dir, "root"), filepath.Join(dir, "saved")
	listen := func() error {
		l, err := net.Listen("unix", filepath.Join(root, "sock"))
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}
	for _, err := range []error{
		os.WriteFile(init, nil, 0o755), os.Mkdir(root, 0o755), os.Mkdir(saved, 0o755), listen(),
		os.WriteFile(filepath.Join(saved, "oci-layout"), []byte("{}"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Init: init, Kernel: filepath.Join(dir, "nonexistent"), Cache: cache.Dir(t.TempDir()), VMM: vmm.QEMU}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	try := func(rootfs string) (*recorder, error) {
		o.Rootfs = rootfs
		ui := &recorder{}
		_, err := o.build(t.Context(), ui)
		if _, none := errors.AsType[*vmm.BackendError](err); none {
			machinetest.Need(t, err)
		}
		return ui, err
	}
	if _, err := try(saved); err == nil {
		t.Error("an OCI layout makes a machine")
	} else if _, ok := errors.AsType[*image.SourceError](err); !ok {
		t.Errorf("an OCI layout: %v, want that it is no root", err)
	}
	ui, err := try(root)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no kernel: %v", err)
	}
	want := Event{Stage: Noted, Detail: "sockets are left out, no program listens there: /sock"}
	if len(ui.events) < 2 || ui.events[1] != want {
		t.Errorf("events %+v, want %+v in the second place", ui.events, want)
	}
}
