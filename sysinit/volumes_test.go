//go:build linux

package sysinit

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseVolume(t *testing.T) {
	for text, want := range map[string]Volume{
		"/dev/vdc:/data:ext4":                       {Source: "/dev/vdc", Target: "/data", Kind: "ext4"},
		"label:my data:/data:ext4:":                 {Source: "label:my data", Target: "/data", Kind: "ext4"},
		"serial:a:b:/data/x:squashfs":               {Source: "serial:a:b", Target: "/data/x", Kind: "squashfs", attributes: unix.MOUNT_ATTR_RDONLY},
		"scratch:/tmp:tmpfs:size=64m,rw":            {Source: "scratch", Target: "/tmp", Kind: "tmpfs", Options: "size=64m,rw", data: [][2]string{{"size", "64m"}}},
		"/srv:/mnt:bind:ro,noexec":                  {Source: "/srv", Target: "/mnt", Kind: "bind", Options: "ro,noexec", attributes: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC},
		"tag:/mnt:virtiofs:nosuid,nodev":            {Source: "tag", Target: "/mnt", Kind: "virtiofs", Options: "nosuid,nodev", attributes: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV},
		"tag:/mnt:9p:version=9p2000.u":              {Source: "tag", Target: "/mnt", Kind: "9p", Options: "version=9p2000.u", data: [][2]string{{"version", "9p2000.u"}, {"trans", "virtio"}}},
		"serial:d:/d:ext4:grow,required":            {Source: "serial:d", Target: "/d", Kind: "ext4", Options: "grow,required", grow: true, required: true},
		"/dev/vdc:/d:ext4:format=empty":             {Source: "/dev/vdc", Target: "/d", Kind: "ext4", Options: "format=empty", format: true},
		"/dev/vdc:/d:ext4:noatime,noload":           {Source: "/dev/vdc", Target: "/d", Kind: "ext4", Options: "noatime,noload", attributes: unix.MOUNT_ATTR_NOATIME, data: [][2]string{{"noload", ""}}},
		"/dev/vdc:/dev/shm/x:erofs:errors=continue": {},
	} {
		got, err := parseVolume(text)
		if want.Source == "" {
			if err == nil {
				t.Errorf("parseVolume(%q) = %+v, want an error", text, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("parseVolume(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if s := got.String(); s != strings.TrimSuffix(text, ":") {
			t.Errorf("String of %q = %q", text, s)
		}
		if target := volumeTarget(text); target != want.Target {
			t.Errorf("volumeTarget(%q) = %q, want %q", text, target, want.Target)
		}
	}
}

func TestParseVolumeErrors(t *testing.T) {
	const form = "not SOURCE:TARGET:TYPE[:OPTIONS], such as /dev/vdc:/data:ext4"
	const target = "TARGET is not an absolute path below / without . and .."
	for text, want := range map[string]string{
		"": form, "/dev/vdc": form, "/dev/vdc:/data": form, ":/data:ext4": form, "/dev/vdc:data:ext4": form, "/dev/vdc:/data:": form,
		"/dev/vdc:/:ext4": target, "/dev/vdc:/a/../b:ext4": target, "/dev/vdc:/a/:ext4": target, "/dev/vdc:/./a:ext4": target,
		"/dev/vdc:/proc/x:ext4":                           "TARGET belongs to the machine itself",
		"a:/run:tmpfs":                                    "TARGET belongs to the machine itself",
		"/dev/vdc:/data:ext5":                             "unknown type ext5",
		"/dev/vdc:/data:ext4:user":                        `unknown option "user" of type ext4`,
		"/dev/vdc:/data:ext4:ro,":                         `unknown option "" of type ext4`,
		"a:/data:tmpfs:size=all":                          "not a size such as 1048576, 64m or 10%",
		"vdc:/data:ext4":                                  "SOURCE is not the path of a device, serial:, uuid: or label:",
		"serial::/data:ext4":                              "SOURCE has nothing after serial:",
		"label:a:/data:squashfs":                          "a squashfs has no uuid and no label; use its serial or device",
		"uuid:123:/data:ext4":                             "123 is not a uuid",
		"data:/mnt:bind":                                  "SOURCE is not the absolute path to bind",
		"/dev/vdc:/data:ext4:ro,grow":                     "grow and format=empty need a writable ext4",
		"/dev/vdc:/data:erofs:format=empty":               "grow and format=empty need a writable ext4",
		"label:a:/data:ext4:format=empty":                 "an empty device has no uuid and no label; use its serial or device",
		"/dev/vdc:/data:ext4:format=always":               `unknown option "format=always" of type ext4`,
		"uuid:" + strings.Repeat("0", 33) + ":/data:ext4": strings.Repeat("0", 33) + " is not a uuid",
		"uuid:" + strings.Repeat("z", 32) + ":/data:ext4": strings.Repeat("z", 32) + " is not a uuid",
	} {
		if got, err := parseVolume(text); err == nil || err.Error() != want {
			t.Errorf("parseVolume(%q) = %+v, %v, want %q", text, got, err, want)
		}
	}
}

// volumesOf returns the volumes of texts.
func volumesOf(t *testing.T, texts ...string) (volumes []*Volume) {
	t.Helper()
	for _, text := range texts {
		if err := setVolume(&volumes, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return volumes
}

// TestVolumeOrder mounts what holds a target, or what is bound, first.
func TestVolumeOrder(t *testing.T) {
	for _, c := range [][2]string{
		{"/b /a", "/b /a"},
		{"/a/b /c /a", "/c /a /a/b"},
		{"/data/x>/srv /d /data", "/d /data /data/x>/srv"},
		{"/a/b/c /a/b /a", "/a /a/b /a/b/c"},
		{"/a/1>/b/1 /b/2>/a/2 /a /b", "/a /b /a/1>/b/1 /b/2>/a/2"},
		{"/a>/b /b>/a", "/a>/b /b>/a"},
		{"/ab /a", "/ab /a"},
	} {
		var texts, got []string
		for word := range strings.FieldsSeq(c[0]) {
			text := "x:" + word + ":tmpfs"
			if source, target, ok := strings.Cut(word, ">"); ok {
				text = source + ":" + target + ":bind"
			}
			texts = append(texts, text)
		}
		for _, v := range inOrder(volumesOf(t, texts...)) {
			word := v.Target
			if v.Kind == bind {
				word = v.Source + ">" + word
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != c[1] {
			t.Errorf("order of %q is %q, want %q", c[0], got, c[1])
		}
	}
}

// TestVolumeSources sets volumes from three sources. A target is set by the highest of them.
func TestVolumeSources(t *testing.T) {
	c := Default()
	s := NewSettings(c.Options(), c.MountOptions())
	if _, err := s.Words([]string{"--mount=/dev/vdc:/a:ext4", "--mount", "/dev/vdd:/b:ext4", "--mount=/dev/vde:/b:erofs"}); err != nil {
		t.Fatal(err)
	}
	s.Text(FromDrive, "drive", []byte("mount=x:/a:tmpfs\nmount=y:/c:tmpfs\nmount=\"label:two words:/d:ext4\"\ngrow\n"))
	s.Text(FromImage, "image", []byte("mount=z:/c:tmpfs\nmount=z:/e:tmpfs\nmount=z:/e:tmpfs:ro\n"))
	var got []string
	for i := range c.Volumes {
		got = append(got, c.Volumes[i].String())
	}
	want := []string{"/dev/vdc:/a:ext4", "/dev/vde:/b:erofs", "y:/c:tmpfs", "label:two words:/d:ext4", "z:/e:tmpfs:ro"}
	if !reflect.DeepEqual(got, want) || !c.Grow {
		t.Errorf("volumes %q, grow %v, want %q", got, c.Grow, want)
	}
	where := map[string]string{}
	s.Each(func(name, from string) { where[name] = from })
	if where["mount./b"] != "the kernel's command line" || where["mount./c"] != "drive line 2" || where["mount./e"] != "image line 3" {
		t.Errorf("set by %q", where)
	}
	for range maxVolumes {
		s.Text(FromImage, "image", []byte("mount=z:/n"+itoa(len(c.Volumes))+":tmpfs"))
	}
	if len(c.Volumes) != maxVolumes {
		t.Errorf("%d volumes, want %d", len(c.Volumes), maxVolumes)
	}
}

// attach mounts the volumes, and returns the steps with their errors.
func attach(t *testing.T, root *Root, c Config) (said []string, err error) {
	t.Helper()
	err = root.Mount(c, func(s Step, took time.Duration, err error) {
		line := s.Name
		if err != nil {
			line = err.Error()
		}
		said = append(said, line)
		t.Logf("%8s %s", took.Round(10*time.Microsecond), s)
	})
	return said, err
}

// mustAttach fails the test on any step that fails.
func mustAttach(t *testing.T, root *Root, c Config) {
	t.Helper()
	said, err := attach(t, root, c)
	for i, s := range PlanVolumes(c) {
		if i >= len(said) || said[i] != s.Name {
			t.Fatalf("Mount says %q, %v", said, err)
		}
	}
}

const dataUUID = "5f3a1b2c-0d4e-4f60-8a9b-0c1d2e3f4a5b"

// TestVolumes mounts a volume of each type, named in each way, and settles. Nothing is mounted
// then, and the disks are clean.
func TestVolumes(t *testing.T) {
	label := "wick" + itoa(os.Getpid())
	inside := enter(t, func(o *outside) {
		o.base(rich)
		disks := []string{o.disk(16), o.ext4("data", 8), o.ext4("label", 8, "-L", label), o.ext4("uuid", 8, "-U", dataUUID)}
		o.device("DATA", disks[1], 0)
		o.device("LABELLED", disks[2], 0)
		o.device("NUMBERED", disks[3], unix.LO_FLAGS_READ_ONLY)
		o.tell("LABEL", label)
		content, err := layer("only")()
		if err != nil {
			o.t.Fatal(err)
		}
		o.device("SQUASHFS", o.file("squashfs", content), 0)
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			for _, disk := range disks {
				wantClean(o.t, disk)
			}
			if got := tool(o.t, "debugfs", "-R", "cat /sub/file", disks[1]); !strings.HasSuffix(got, "kept") {
				o.t.Errorf("the volume's file holds %q", got)
			}
		})
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	before := mounts(t)
	c.Volumes = volumesOf(t,
		"/mnt/data/sub:/srv:bind:nosuid,noatime",
		os.Getenv("DATA")+":/mnt/data:ext4:noatime,nodev,errors=remount-ro",
		"label:"+os.Getenv("LABEL")+":/mnt/data/label:ext4:noexec",
		"uuid:"+strings.ToUpper(dataUUID)+":/mnt/uuid:ext4:ro",
		os.Getenv("SQUASHFS")+":/mnt/squashfs:squashfs",
		"scratch:/mnt/scratch:tmpfs:size=64k,mode=0700,nosuid",
		"/etc/hosts:/mnt/hosts:bind:ro",
	)
	// A bind needs its directory before.
	early := c
	early.Volumes = c.Volumes[1:2]
	mustAttach(t, root, early)
	if err := os.Mkdir("/mnt/data/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount("/mnt/data", 0); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, root, c)
	want := `/mnt/data ext4 rw,nodev,noatime
/srv ext4 rw,nosuid,nodev,noatime
/mnt/data/label ext4 rw,noexec,relatime
/mnt/uuid ext4 ro,relatime
/mnt/squashfs squashfs ro,relatime
/mnt/scratch tmpfs rw,nosuid,relatime
/mnt/hosts overlay ro,noatime
`
	if got := strings.TrimPrefix(mounts(t), before); got != want {
		t.Errorf("mounts:\n%swant:\n%s", got, want)
	}
	if got := read(t, "/mnt/squashfs/data/only"); got != "only\n" {
		t.Errorf("the squashfs holds %q", got)
	}
	write(t, "/srv/file", "kept")
	write(t, "/mnt/data/label/file", "kept")
	if said, err := stagesOf(root, SettleLimit); err != nil || said != "unmount\nflush\nread-only\nsync\n" {
		t.Errorf("Settle: %v, %q", err, said)
	}
	if got := mounts(t); len(got) > len(before) {
		t.Errorf("mounted still:\n%s", got)
	}
}

// TestVolumeErofs mounts an erofs by its UUID.
func TestVolumeErofs(t *testing.T) {
	needErofs(t)
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.erofs("LAYER", "only")
		o.tell("UUID", strings.TrimSpace(tool(o.t, "blkid", "-o", "value", "-s", "UUID", filepath.Join(o.dir, "only.erofs"))))
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	c.Volumes = volumesOf(t, "uuid:"+os.Getenv("UUID")+":/mnt:erofs")
	mustAttach(t, root, c)
	if got := read(t, "/mnt/data/only"); got != "only\n" {
		t.Errorf("the erofs holds %q", got)
	}
}

// TestVolumeFails has volumes that cannot be mounted. Each says why, and the next is mounted.
func TestVolumeFails(t *testing.T) {
	label := "both" + itoa(os.Getpid())
	inside := enter(t, func(o *outside) {
		both(o)
		o.tell("LABEL", label)
		o.device("ONE", o.ext4("one", 4, "-L", label), 0)
		o.device("TWO", o.ext4("two", 4, "-L", label), 0)
		o.device("ZEROS", o.file("zeros", make([]byte, 4<<20)), 0)
		o.device("TEXT", o.file("text", []byte(strings.Repeat("never formatted by anybody\n", 9999))), 0)
		content, err := rich()
		if err != nil {
			o.t.Fatal(err)
		}
		o.device("SQUASHFS", o.file("squashfs", content), 0)
		short := o.ext4("short", 8)
		if err := os.Truncate(short, 4<<20); err != nil {
			o.t.Fatal(err)
		}
		o.device("SHORT", short, 0)
		broken := o.ext4("broken", 4)
		tool(o.t, "debugfs", "-w", "-R", "set_super_value inodes_per_group 1", broken)
		o.device("BROKEN", broken, 0)
		o.device("READONLY", o.ext4("readonly", 4), unix.LO_FLAGS_READ_ONLY)
		dirty := o.ext4("dirty", 4)
		tool(o.t, "debugfs", "-w", "-R", "set_super_value feature_incompat 0x2c6", dirty)
		o.device("DIRTY", dirty, unix.LO_FLAGS_READ_ONLY)
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	cases := [][2]string{
		{"/dev/vdz:/a:ext4", "find /dev/vdz: no such file or directory: the device did not appear within 0 s"},
		{"serial:none:/a:ext4", "find serial:none: no such file or directory: no device with this serial appeared within 0 s"},
		{"uuid:" + dataUUID[:35] + "0:/a:ext4", "find uuid:" + dataUUID[:35] + "0: no such file or directory: no device with this uuid appeared within 0 s"},
		{"label:$LABEL:/a:ext4", "find label:$LABEL: both $ONE and $TWO have it"},
		{"/etc/hosts:/a:ext4", "find /etc/hosts: block device required"},
		{"$ZEROS:/a:ext4", "mount $ZEROS on /a: invalid argument: the device is empty (not formatted)"},
		{"$TEXT:/a:ext4", "mount $TEXT on /a: invalid argument: the device holds no known file system, not ext4"},
		{"$TEXT:/a:ext4:format=empty", "mount $TEXT on /a: invalid argument: the device holds no known file system, not ext4"},
		{"$SQUASHFS:/a:ext4:format=empty", "mount $SQUASHFS on /a: invalid argument: the device holds squashfs, not ext4"},
		{"$ZEROS:/a:ext4:format=empty", "format $ZEROS: no such file or directory: the root has no mkfs.ext4; install e2fsprogs"},
		{"$ONE:/a:squashfs", "mount $ONE on /a: invalid argument: the device holds ext4, not squashfs"},
		{"$SHORT:/a:ext4", "mount $SHORT on /a: invalid argument: the device is cut short: 4194304 of the 8388608 bytes of its ext4"},
		{"$BROKEN:/a:ext4", "mount $BROKEN on /a: invalid argument: " + damaged("ext4")},
		{"$READONLY:/a:ext4", "mount $READONLY on /a: permission denied: the device is read-only"},
		{"$DIRTY:/a:ext4:ro", "mount $DIRTY on /a: read-only file system: the device is read-only, and its journal must be replayed"},
		{"$DISK:/a:ext4", "mount $DISK on /a: device or resource busy: it is the disk of the root"},
		{"$ONE:/a:ext4:errors=never", "set errors=never on /a: invalid argument"},
		{"$ONE:/etc/hosts/a:ext4", "make /etc/hosts/a: not a directory"},
		{"/nowhere:/a:bind", "find /nowhere: no such file or directory"},
		{"a:/a:tmpfs:mode=rwx", "set mode=rwx on /a: invalid argument"},
	}
	if known, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(known), "\t9p\n") {
		cases = append(cases, [2]string{"tag:/a:9p", "mount tag on /a: no such device: unknown file system: the kernel lacks 9p"})
	}
	for _, v := range cases {
		text, want := os.ExpandEnv(v[0]), "volume /a: "+os.ExpandEnv(v[1])
		if strings.Contains(text, ":/etc/") && !strings.HasPrefix(text, "/etc/hosts:") {
			want = strings.Replace(want, "volume /a", "volume /etc/hosts/a", 1)
		}
		c.Volumes = volumesOf(t, text, "after:/after:tmpfs")
		said, err := attach(t, root, c)
		got := said[0]
		if i := strings.Index(got, "both "); i >= 0 && !strings.HasPrefix(got, want) { // in the order of sysfs
			got = got[:i] + "both " + os.Getenv("ONE") + " and " + os.Getenv("TWO") + " have it"
		}
		// The kernel's own words about an option may follow.
		if got != want && !(strings.HasPrefix(v[1], "set ") && strings.HasPrefix(got, want)) || err != nil {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", text, got, err, want)
		}
		if err := unix.Unmount("/after", 0); err != nil {
			t.Errorf("after %s the next volume is not mounted: %v", text, err)
		}
	}
	c.Volumes = volumesOf(t, os.ExpandEnv("$DIRTY:/dirty:ext4:ro,noload"))
	mustAttach(t, root, c)
	c.Volumes = volumesOf(t, os.ExpandEnv("$ZEROS:/a:ext4:required"), "after:/after:tmpfs")
	if said, err := attach(t, root, c); err == nil || len(said) != 1 || err.Error() != said[0] {
		t.Errorf("a required volume: %q, %v", said, err)
	}
}

// TestVolumeFull mounts a full volume, and says so.
func TestVolumeFull(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.disk(4, "-m", "0")
		fill(o, "")
		o.tell("FULL", o.env[len(o.env)-1][len("DISK="):])
		o.tell("DISK", "")
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	c.Volumes = volumesOf(t, os.Getenv("FULL")+":/mnt:ext4:required")
	said, err := attach(t, root, c)
	if err != nil || len(said) != 2 || said[1] != "room on /mnt: look at /mnt: it is full" {
		t.Errorf("Mount says %q, %v", said, err)
	}
}

func FuzzVolume(f *testing.F) {
	f.Add("label:a:/data:ext4:ro,noload")
	f.Add("x:/a/b:9p:msize=4096,,")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseVolume(text)
		if err != nil {
			return
		}
		again, err := parseVolume(v.String())
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Errorf("parseVolume(%q) = %+v, then %+v, %v", text, v, again, err)
		}
	})
}
