package guesttest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

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

// TestVolumeShared mounts a directory of the host by 9p.
func TestVolumeShared(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	initramfs, err := l.InitramfsWith(deadline(t, stepLimit), "9p", "9pnet_virtio", "virtiofs")
	if err != nil {
		t.Skipf("the kernel lacks 9p or virtiofs: give one that has them as WICK_KERNEL: %v", err)
	}
	c := usual(t, l)
	c.Initramfs = initramfs
	c.Share = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Share, "hosts"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.InitArgs = []string{"--mount=share:/share:9p:nosuid", "--mount=other:/other:9p", "--mount=other:/fs:virtiofs"}
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
	signal(t, conn, "TERM")
	v.gone()
	if got, err := os.ReadFile(filepath.Join(c.Share, "guests")); string(got) != "of the guest\n" {
		t.Errorf("the guest's file holds %q, %v", got, err)
	}
}
