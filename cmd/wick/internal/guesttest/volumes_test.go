package guesttest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/kernel"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
)

// volume makes an ext4 with a label.
func volume(t *testing.T, label string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), label+".ext4")
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-L", label, path, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return path
}

// TestVolumes boots twice with a drive by its serial and one by its label. The first drive is
// larger than its file system, and so is the overlay. One more drive is missing. The second machine
// has the files of the first, and all disks are clean after each.
func TestVolumes(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	data, logs := volume(t, "data"), volume(t, "logs")
	for _, disk := range []string{c.overlay, data} {
		if err := os.Truncate(disk, 2<<30); err != nil {
			t.Fatal(err)
		}
	}
	disks := []string{c.overlay, data, logs}
	c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: logs}, vmm.Drive{Path: data, Serial: "wick-data"})
	c.overlay = ""
	c.InitArgs = []string{
		"--wait=1", "--grow", "--mount=serial:wick-data:/srv/data:ext4:nodev,grow", "--mount=/srv/data:/data:bind:ro",
		"--mount=label:logs:/var/log/app:ext4:noatime", "--mount=/dev/vdz:/missing:ext4", "--mount=scratch:/scratch:tmpfs:size=1m",
	}
	for turn := range 2 {
		v, conn := boot(t, l, c)
		if turn == 0 {
			run(t, conn, "echo kept >/srv/data/file; seq 1000 >/var/log/app/log; echo gone >/scratch/file")
		}
		if got := run(t, conn, "cat /data/file; tail -n 1 /var/log/app/log; ls /scratch | wc -l"); got != "kept\n1000\n"+strconv.Itoa(1-turn)+"\n" {
			t.Errorf("boot %d: the volumes hold %q", turn+1, got)
		}
		got := run(t, conn, "grep -E ' (/srv|/data|/var|/scratch)' /proc/mounts | cut -d' ' -f1-4 | sed 's/,mb_optimize_scan=0//; s/,inode64//' | sort")
		want := "/dev/vdc /var/log/app ext4 rw,noatime\n/dev/vdd /data ext4 ro,nodev,relatime\n/dev/vdd /srv/data ext4 rw,nodev,relatime\nscratch /scratch tmpfs rw,relatime,size=1024k\n"
		if got != want {
			t.Errorf("boot %d: mounts\n%swant\n%s", turn+1, got, want)
		}
		for _, path := range []string{"/", "/srv/data"} {
			mib, err := strconv.Atoi(strings.TrimSpace(run(t, conn, "df -m "+path+" | tail -n 1 | tr -s ' ' | cut -d' ' -f2")))
			if err != nil || mib < 1800 {
				t.Errorf("boot %d: %s has %d MiB, %v, want about 2048", turn+1, path, mib, err)
			}
		}
		hello, err := conn.Hello(deadline(t, stepLimit))
		if err != nil {
			t.Fatal(err)
		}
		facts := maps.Collect(hello.Under(""))
		if got := facts["degraded.volume /missing"]; got != "volume /missing: find /dev/vdz: no such file or directory: the device did not appear within 1 s" {
			t.Errorf("boot %d: the fact of the missing volume is %q", turn+1, got)
		}
		if got := facts["config.mount./data"]; got != "the kernel's command line" {
			t.Errorf("boot %d: /data was set by %q", turn+1, got)
		}
		for name := range facts {
			if strings.HasPrefix(name, "degraded.") && name != "degraded.volume /missing" {
				t.Errorf("boot %d: %s: %s", turn+1, name, facts[name])
			}
		}
		t.Logf("boot %d: grow overlay disk %s, grow /srv/data %s", turn+1, facts["boot.grow overlay disk"], facts["boot.grow /srv/data"])
		signal(t, conn, "TERM")
		v.gone()
		for _, disk := range disks {
			wantClean(t, disk)
		}
	}
}

// TestVolumeRequired boots without a volume that is required. The host is told why.
func TestVolumeRequired(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.InitArgs = []string{"--wait=0", "--mount=serial:none:/data:ext4:required"}
	fails(t, l, c, "vm-init: volume /data: find serial:none: no such file or directory: no device with this serial appeared within 0 s")
	wantClean(t, c.overlay)
}

// virtiofsSocket returns a path for the socket of a virtiofsd, or "" if this host cannot run one.
func virtiofsSocket(t *testing.T) string {
	t.Helper()
	if machine.FindVirtiofsd() == "" {
		return ""
	}
	dir, err := os.MkdirTemp("/tmp", "virtiofsd-") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "fs")
}

// TestVolumeShared mounts directories of the host by 9p and virtiofs.
func TestVolumeShared(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	if l.Initramfs != "" { // Debian's cloud kernel has neither
		ctx := deadline(t, bootLimit)
		k, err := kernel.General(ctx, l.Store, l.Kernel.Arch)
		machinetest.Need(t, err)
		c.Kernel = k.Image
		modules := []string{"crc32c_generic", "ext4", "9p", "9pnet_virtio", "virtiofs"}
		if c.Initramfs, err = k.Initramfs(ctx, l.Store, kernel.Initramfs{Init: l.Root.Init, Extra: modules}); err != nil {
			t.Fatal(err)
		}
	}
	host := t.TempDir()
	c.Shares = []vmm.Share{{Path: host, Tag: "share"}}
	if err := os.WriteFile(filepath.Join(host, "hosts"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "hosts"), []byte("by virtiofs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := virtiofsSocket(t)
	if socket != "" {
		c.Shares = append(c.Shares, vmm.Share{Path: shared, Tag: "fs", Socket: socket})
	}
	c.InitArgs = []string{
		"--mount=share:/share:9p:nosuid", "--mount=other:/other:9p", "--mount=other:/fs:virtiofs",
		"--mount=fs:/shared:virtiofs:nosuid",
	}
	v, conn := boot(t, l, c)
	hello, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	facts := maps.Collect(hello.Under("degraded.volume "))
	if strings.HasSuffix(facts["/share"], "the kernel lacks 9p") {
		t.Skip("the kernel lacks 9p: give one that has it as WICK_KERNEL")
	}
	if got := run(t, conn, "cat /share/hosts; echo of the guest >/share/guests; grep -c '^share /share 9p .*nosuid' /proc/mounts"); got != "of the host\n1\n" {
		t.Errorf("the share holds %q", got)
	}
	if got := facts["/other"]; !strings.HasSuffix(got, ": no device has the tag other") {
		t.Errorf("the fact of a share that is missing is %q", got)
	}
	if got := facts["/fs"]; !strings.HasSuffix(got, ": unknown file system: the kernel lacks virtiofs") && !strings.HasSuffix(got, ": no device has the tag other") {
		t.Errorf("the fact of a virtiofs that is missing is %q", got)
	}
	ctx := deadline(t, stepLimit)
	if err := conn.Unmount(ctx, "/share", false); err != nil {
		t.Errorf("Unmount of a 9p: %v", err)
	}
	if mounted, err := conn.Mount(ctx, "share:/again:9p:ro", 0); !mounted || err != nil {
		t.Errorf("Mount of a 9p = %v, %v", mounted, err)
	}
	if got := run(t, conn, "cat /again/guests; touch /again/x 2>/dev/null || echo ro"); got != "of the guest\nro\n" {
		t.Errorf("the share that is mounted again holds %q", got)
	}
	switch {
	case socket == "" || strings.HasSuffix(facts["/shared"], "the kernel lacks virtiofs"):
		t.Log("no virtiofs: apt-get install virtiofsd, and give a kernel that has it as WICK_KERNEL")
	default:
		if got := run(t, conn, "cat /shared/hosts; echo of the guest >/shared/guests; grep -c '^fs /shared virtiofs .*nosuid' /proc/mounts"); got != "by virtiofs\n1\n" {
			t.Errorf("the virtiofs holds %q", got)
		}
		if got, err := os.ReadFile(filepath.Join(shared, "guests")); string(got) != "of the guest\n" {
			t.Errorf("the guest's file in the virtiofs holds %q, %v", got, err)
		}
		run(t, conn, "sleep 1000 </shared/hosts >/dev/null 2>&1 &")
		wantOp(t, conn.Unmount(ctx, "/shared", false), unix.EBUSY, `: in use by \d+ \(sleep\)$`)
	}
	signal(t, conn, "TERM")
	v.gone()
	if got, err := os.ReadFile(filepath.Join(host, "guests")); string(got) != "of the guest\n" {
		t.Errorf("the guest's file holds %q, %v", got, err)
	}
}
