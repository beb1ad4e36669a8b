package guesttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// resize makes a drive of a running machine larger, or gives it a size.
func (v *vm) resize(number, mib int) {
	v.t.Helper()
	arguments := map[string]any{"device": "disk" + string(rune('0'+number)), "size": mib << 20}
	if err := v.QMP().Do(deadline(v.t, stepLimit), "block_resize", arguments, nil); err != nil {
		v.t.Fatal(err)
	}
}

// blocks returns what a file takes on the host's disk, in bytes.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// wantOp checks the errno and the text of an error.
func wantOp(t *testing.T, err error, errno unix.Errno, text string) {
	t.Helper()
	var op *client.OpError
	if !errors.As(err, &op) || !errors.Is(err, errno) || !regexp.MustCompile(text).MatchString(err.Error()) {
		t.Errorf("got %v, want %v and the text %s", err, errno, text)
	}
}

// TestDisks has a host mount, grow, trim and unmount the drives of a machine that runs. One drive
// is there only later. The machine swaps to another, and uses a processor that is added.
func TestDisks(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	initramfs, err := l.InitramfsWith(deadline(t, stepLimit), "lzo-rle", "zram")
	withZram := err == nil
	c := usual(t, l)
	if withZram {
		c.Initramfs = initramfs
	}
	data, late, logs := volume(t, "data"), filepath.Join(t.TempDir(), "late"), volume(t, "logs")
	swap := filepath.Join(t.TempDir(), "swap")
	for path, size := range map[string]int64{late: 0, swap: 8 << 20} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	disks := []string{c.overlay, data, late, logs}
	c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: data, Serial: "wick-data"},
		vmm.Drive{Path: late, Serial: "wick late"}, vmm.Drive{Path: swap}, vmm.Drive{Path: logs})
	c.overlay = ""
	c.CPUs = 2
	c.InitArgs = []string{"--wait=1", "--swap=/dev/vde,format=empty", "--swap=zram:16m", "--mount=label:logs:/logs:ext4"}
	v, conn := boot(t, l, c)
	ctx := deadline(t, bootLimit)

	// The drive by its label. A volume in use is not unmounted, and its users are named.
	if mounted, err := conn.Mount(ctx, "label:data:/srv/data:ext4:nodev", 0); !mounted || err != nil {
		t.Fatalf("Mount = %v, %v", mounted, err)
	}
	mounted, err := conn.Mount(ctx, "serial:wick-data:/srv/data:ext4", 0)
	if mounted {
		t.Error("a second volume is mounted at the same target")
	}
	wantOp(t, err, unix.EBUSY, "^mount serial:wick-data on /srv/data: .*: a file system is mounted there$")
	_, err = conn.Mount(ctx, "label:data:/srv/data:ext5", 0)
	wantOp(t, err, unix.EINVAL, ": unknown type ext5$")
	_, err = conn.Mount(ctx, "/dev/vdb:/mnt:ext4", 0)
	wantOp(t, err, unix.EBUSY, "it is the disk of the root$")
	_, err = conn.Mount(ctx, "serial:no such:/mnt:ext4", 10*time.Millisecond)
	wantOp(t, err, unix.ENOENT, "no device with this serial appeared within 0.01 s$")
	run(t, conn, "cd /srv/data && { sleep 1000 >/dev/null 2>&1 & }; exec 9>/srv/data/open; sleep 1000 >/dev/null 2>&1 9>&9 &")
	wantOp(t, conn.Unmount(ctx, "/srv/data", false), unix.EBUSY, `: in use by \d+ \(sleep\), \d+ \(sleep\)$`)
	run(t, conn, "killall sleep")

	// It grows with its drive, and what is deleted is given back to the host.
	v.resize(2, 512)
	if size, err := conn.Grow(ctx, "/srv/data"); size != 512<<20 || err != nil {
		t.Errorf("Grow = %d, %v, want 512 MiB", size, err)
	}
	run(t, conn, "dd if=/dev/urandom of=/srv/data/file bs=1M count=32 2>/dev/null && sync")
	full := blocks(t, data)
	run(t, conn, "rm /srv/data/file && sync")
	trimmed, err := conn.Trim(ctx, "/srv/data")
	if err != nil || trimmed < 32<<20 {
		t.Errorf("Trim = %d, %v, want 32 MiB or more", trimmed, err)
	}
	if left := blocks(t, data); left > full-30<<20 {
		t.Errorf("the host's file takes %d bytes after the trim and took %d, want 32 MiB less", left, full)
	}
	if _, err := conn.Trim(ctx, "/"); err != nil {
		t.Errorf("Trim of the overlay: %v", err)
	}
	if _, err := conn.Trim(ctx, ""); err != nil {
		t.Errorf("Trim of all: %v", err)
	}
	_, err = conn.Grow(ctx, "/run")
	wantOp(t, err, unix.EOPNOTSUPP, "^grow /run: .*it is no ext4$")

	// A drive that the host attaches while the guest waits for it.
	type result struct {
		mounted bool
		err     error
	}
	mounting := make(chan result, 1)
	go func() {
		mounted, err := conn.Mount(ctx, "serial:wick late:/late:ext4:format=empty", time.Minute)
		mounting <- result{mounted, err}
	}()
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", late, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	v.resize(3, 16)
	if r := <-mounting; !r.mounted || r.err != nil {
		t.Errorf("Mount of a drive that comes = %v, %v", r.mounted, r.err)
	}

	facts, err := conn.Disks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, f := range facts {
		shown += f.Name + " " + f.Value + "\n"
	}
	for _, want := range []string{
		`(?m)^disk.vda size=\d+ fs=squashfs ro`, `(?m)^disk.vdb size=\d+ .*fs=ext4 trim root$`,
		`(?m)^disk.vdc size=536870912 serial=wick-data uuid=[0-9a-f]{8}-\S+ label=data fs=ext4 on=/srv/data trim$`,
		`(?m)^disk.vdd size=16777216 serial=wick\\040late uuid=\S+ fs=ext4 on=/late trim$`,
		`(?m)^disk.vde size=8388608 fs=swap trim$`,
	} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("the facts lack %s:\n%s", want, shown)
		}
	}
	stats, err := conn.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, least := range map[string]uint64{"/srv/data.total": 400 << 20, "/late.free": 1 << 20, "/logs.total": 1 << 20} {
		if n := stats.Get("volume." + name); n < least {
			t.Errorf("the figure volume.%s is %d, want %d or more", name, n, least)
		}
	}

	swaps := run(t, conn, "tail -n +2 /proc/swaps | tr -s '\t ' ' ' | cut -d' ' -f1,3,5")
	if !strings.Contains(swaps, "/dev/vde 8188 -") {
		t.Errorf("the machine swaps to %q, want /dev/vde of 8 MiB", swaps)
	}
	if withZram && !strings.Contains(swaps, "/dev/zram0 16380 100\n") {
		t.Errorf("the machine swaps to %q, want /dev/zram0 of 16 MiB", swaps)
	}

	// The kernel tells of a processor as if the host had added it.
	run(t, conn, "cd /sys/devices/system/cpu; echo 0 >cpu1/online && echo add >cpu1/uevent")
	run(t, conn, "cd /sys/devices/system/cpu; until [ $(cat online) = 0-1 ]; do sleep 0.1; done")
	if auto := run(t, conn, "cat /sys/devices/system/memory/auto_online_blocks 2>/dev/null || echo online"); auto != "online\n" {
		t.Errorf("memory that is added is left %q, want online", auto)
	}

	// One volume is unmounted now, and one later though it is busy. The rest is on the way down.
	if err := conn.Unmount(ctx, "/logs", false); err != nil {
		t.Errorf("Unmount of one of the boot: %v", err)
	}
	wantOp(t, conn.Unmount(ctx, "/logs", false), unix.EINVAL, "no file system is mounted there$")
	wantOp(t, conn.Unmount(ctx, "/proc", false), unix.EPERM, "belongs to the machine itself$")
	run(t, conn, "cd /late && { sleep 1000 >/dev/null 2>&1 & }")
	if err := conn.Unmount(ctx, "/late", true); err != nil {
		t.Errorf("Unmount of a busy one with lazy: %v", err)
	}
	run(t, conn, "killall sleep; ! grep ' /late ' /proc/mounts; echo kept >/srv/data/file")
	signal(t, conn, "TERM")
	v.gone()
	for _, disk := range disks {
		wantClean(t, disk)
	}
}
