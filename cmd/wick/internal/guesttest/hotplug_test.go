package guesttest

import (
	"testing"

	"wick/cmd/wick/internal/machinetest"
)

// TestHotPlug adds a processor, memory and a drive to a machine that runs. The guest uses each
// without being told, and mounts the drive by its serial.
func TestHotPlug(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	if l.Kernel.Arch != "amd64" || l.Initramfs == "" {
		t.Skip("only Debian's kernel for amd64 has the drivers: unset WICK_KERNEL")
	}
	initramfs, err := l.InitramfsWith(deadline(t, stepLimit), "virtio_pci")
	machinetest.Need(t, err)
	c := usual(t, l)
	c.Initramfs, c.HotPlug = initramfs, true
	c.InitArgs = []string{"--wait=1"}
	v, conn := boot(t, l, c)
	ctx := deadline(t, bootLimit)
	do := func(command string, arguments map[string]any) {
		t.Helper()
		if err := v.QMP().Do(ctx, command, arguments, nil); err != nil {
			t.Fatal(err)
		}
	}

	do("device_add", map[string]any{"driver": "max-x86_64-cpu", "id": "cpu1", "socket-id": 0, "die-id": 0, "core-id": 1, "thread-id": 0})
	run(t, conn, "cd /sys/devices/system/cpu; until [ $(cat online) = 0-1 ]; do sleep 0.1; done; grep -c ^processor /proc/cpuinfo")

	stats, err := conn.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := stats.Memory()
	do("object-add", map[string]any{"qom-type": "memory-backend-memfd", "id": "more", "size": 256 << 20, "share": true})
	do("device_add", map[string]any{"driver": "pc-dimm", "id": "dimm", "memdev": "more"})
	for stats.Get("memory.total") < before+200<<20 {
		if stats, err = conn.Stats(ctx); err != nil {
			t.Fatalf("the machine has not come to use more memory: %v", err)
		}
	}

	data := volume(t, "data")
	mounting := make(chan error, 1)
	go func() {
		_, err := conn.Mount(ctx, "serial:added:/srv/data:ext4", bootLimit)
		mounting <- err
	}()
	do("blockdev-add", map[string]any{"driver": "file", "node-name": "added", "filename": data, "discard": "unmap"})
	do("device_add", map[string]any{"driver": "virtio-blk-pci", "drive": "added", "serial": "added", "id": "added", "bus": "plug0"})
	if err := <-mounting; err != nil {
		t.Fatal(err)
	}
	run(t, conn, "echo kept >/srv/data/file && sync")
	if err := conn.Unmount(ctx, "/srv/data", false); err != nil {
		t.Error(err)
	}
	wantClean(t, data)
	signal(t, conn, "TERM")
	v.gone()
}
