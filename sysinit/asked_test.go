//go:build linux

package sysinit

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wantFault checks the errno and the end of an error.
func wantFault(t *testing.T, err error, errno unix.Errno, end string) {
	t.Helper()
	if !errors.Is(err, errno) || !strings.HasSuffix(err.Error(), end) {
		t.Errorf("got %v, want %v and the end %q", err, errno, end)
	}
}

// TestAsked mounts, trims and unmounts as a host asks for it.
func TestAsked(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		disks := []string{o.disk(16), o.ext4("data", 16, "-L", "my data")}
		o.device("DATA", disks[1], 0)
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			for _, disk := range disks {
				wantClean(o.t, disk)
			}
		})
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	data := os.Getenv("DATA")

	for text, want := range map[string]struct {
		errno unix.Errno
		end   string
	}{
		data + ":/mnt:ext5":            {unix.EINVAL, ": unknown type ext5"},
		c.Overlay + ":/mnt:ext4":       {unix.EBUSY, ": it is the disk of the root"},
		data + ":/mnt:erofs":           {unix.EINVAL, ": the device holds ext4, not erofs"},
		data + ":/run:ext4":            {unix.EINVAL, ": TARGET belongs to the machine itself"},
		data + ":/dev/shm:ext4":        {unix.EBUSY, ": a file system is mounted there"},
		"/dev/nosuch:/mnt:ext4":        {unix.ENOENT, ": the device did not appear within 0 s"},
		"x:/mnt:tmpfs:size=none":       {unix.EINVAL, ": not a size such as 1048576, 64m or 10%"},
		"/nosuch:/mnt/bound:bind":      {unix.ENOENT, "find /nosuch: no such file or directory"},
		data + ":/mnt:ext4:data=wrong": {unix.EINVAL, ""},
	} {
		mounted, err := Attach(text, 0, root.upper)
		if mounted {
			t.Errorf("%s is mounted", text)
		}
		wantFault(t, err, want.errno, want.end)
	}
	if mounted, err := Attach(data+":/mnt/a b:ext4:nodev", 0, root.upper); !mounted || err != nil {
		t.Fatalf("Attach = %v, %v", mounted, err)
	}

	write(t, "/mnt/a b/file", strings.Repeat("x", 4<<20))
	unix.Sync()
	if err := os.Remove("/mnt/a b/file"); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	for _, path := range []string{"/mnt/a b", "/mnt/a b/lost+found", "/", "/etc", ""} {
		bytes, err := Trim(path, root.upper)
		if err != nil || path == "/mnt/a b" && bytes < 4<<20 {
			t.Errorf("Trim(%q) = %d, %v", path, bytes, err)
		}
	}
	_, err := Trim("/run", root.upper)
	wantFault(t, err, unix.EOPNOTSUPP, ": its drive or its file system takes no trims, or is read-only")
	_, err = Trim("/etc", -1)
	wantFault(t, err, unix.EOPNOTSUPP, ": the overlay is in memory")
	_, err = Grow("/run", root.upper)
	wantFault(t, err, unix.EOPNOTSUPP, ": it is no ext4")
	_, err = Grow("/nosuch", root.upper)
	wantFault(t, err, unix.ENOENT, "open /nosuch: no such file or directory")
	if size, err := Grow("/mnt/a b", root.upper); size != 16<<20 || err != nil {
		t.Errorf("Grow of an ext4 as large as its device = %d, %v, want 16 MiB", size, err)
	}

	shown := map[string]string{}
	for _, fact := range Disks(root.upper) {
		shown[fact[0]] = fact[1]
	}
	if got := shown["disk."+filepath.Base(data)]; !strings.HasPrefix(got, "size=16777216 uuid=") ||
		!strings.HasSuffix(got, ` label=my\040data fs=ext4 on=/mnt/a\040b trim`) {
		t.Errorf("the fact of the volume is %q", got)
	}
	if got := shown["disk."+filepath.Base(c.Overlay)]; !strings.HasSuffix(got, " fs=ext4 trim root") {
		t.Errorf("the fact of the overlay disk is %q", got)
	}

	// It is busy by a mapping alone, and by more mounts than are named.
	write(t, "/mnt/a b/mapped", "x")
	f, err := os.Open("/mnt/a b/mapped")
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ, unix.MAP_PRIVATE)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, Detach("/mnt/a b", false), unix.EBUSY, ": in use by 1 (exe)")
	if err := unix.Munmap(mapping); err != nil {
		t.Fatal(err)
	}
	for i := range maxUsers + 1 {
		if mounted, err := Attach("x:/mnt/a b/"+itoa(i)+":tmpfs", 0, root.upper); !mounted || err != nil {
			t.Fatalf("Attach = %v, %v", mounted, err)
		}
	}
	wantFault(t, Detach("/mnt/a b", false), unix.EBUSY, "mount /mnt/a b/2, mount /mnt/a b/1 and more")
	for i := range maxUsers + 1 {
		if err := Detach("/mnt/a b/"+itoa(i), false); err != nil {
			t.Error(err)
		}
	}
	if err := os.Symlink("a b", "/mnt/link"); err != nil {
		t.Fatal(err)
	}
	if err := Detach("/mnt/link", false); err != nil {
		t.Errorf("Detach by a symbolic link: %v", err)
	}
	for target, want := range map[string]struct {
		errno unix.Errno
		end   string
	}{
		"/mnt/a b": {unix.EINVAL, ": no file system is mounted there"},
		"/nosuch":  {unix.EINVAL, ": no file system is mounted there"},
		"/proc":    {unix.EPERM, ": it belongs to the machine itself"},
		"/run":     {unix.EPERM, ": it belongs to the machine itself"},
		"/":        {unix.EINVAL, notBelow},
		"":         {unix.EINVAL, notBelow},
		"mnt":      {unix.EINVAL, notBelow},
		"/mnt/../": {unix.EINVAL, notBelow},
	} {
		wantFault(t, Detach(target, false), want.errno, want.end)
	}
	if err := root.Settle(SettleLimit, nil); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

// TestSetSwap parses what to swap to.
func TestSetSwap(t *testing.T) {
	c := Default()
	s := NewSettings(c.Options(), c.MountOptions())
	text := "swap=/dev/vdc\nswap=/dev/vdc,format=empty\nswap=serial:a b\nswap=zram:50%\n"
	if errs := s.Text(FromDrive, "drive", []byte(text)); errs != nil {
		t.Fatal(errs)
	}
	want := []*Swap{{"/dev/vdc", true}, {"serial:a b", false}, {"zram:50%", false}}
	if !reflect.DeepEqual(c.Swaps, want) {
		t.Errorf("swaps %v, want %v", c.Swaps, want)
	}
	const form = "not the path of a device, serial: and a text, or zram: and a size"
	const size = "not a size such as 1048576, 64m or 10%"
	for value, want := range map[string]string{
		"": form, "vdc": form, "/": form, "serial:": form, "label:a": form, "zram:": form,
		"zram:0": size, "zram:101%": size, "zram:big": size, "zram:64m,format=empty": "compressed memory takes no option",
		"/dev/vdc,discard": `unknown option "discard"`, "/dev/vdc,": `unknown option ""`,
	} {
		if err := setSwap(new([]*Swap), value); err == nil || err.Error() != want {
			t.Errorf("setSwap(%q) = %v, want %q", value, err, want)
		}
	}
}

// TestSwapFails has devices that hold no swap area. Nothing is written to them.
func TestSwapFails(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(rich)
		o.disk(16)
		disk := o.ext4("data", 8)
		o.device("DATA", disk, 0)
		late := make([]byte, 1<<20)
		late[len(late)-1] = 1
		o.device("LATE", o.file("late", late), 0)
		o.device("ZEROS", o.file("zeros", make([]byte, 1<<20)), 0)
		o.after = append(o.after, func(out string, err error) {
			if err != nil {
				o.t.Errorf("inside: %v\n%s", err, out)
			}
			wantClean(o.t, disk)
			if got := read(o.t, filepath.Join(o.dir, "late")); got != string(late) {
				o.t.Error("a device that was not empty was written to")
			}
		})
	})
	if !inside {
		return
	}
	c := config()
	root := mustUp(t, c)
	data, late, zeros := os.Getenv("DATA"), os.Getenv("LATE"), os.Getenv("ZEROS")
	for _, text := range []string{data + ",format=empty", late + ",format=empty", zeros, "/dev/nosuch"} {
		if err := setSwap(&c.Swaps, text); err != nil {
			t.Fatal(err)
		}
	}
	said, err := attach(t, root, c)
	want := []string{
		"swap " + data + ": swap to " + data + ": invalid argument: the device holds ext4, not swap",
		"swap " + late + ": swap to " + late + ": invalid argument: the device is empty (not formatted)",
		"swap " + zeros + ": swap to " + zeros + ": invalid argument: the device is empty (not formatted)",
		"swap /dev/nosuch: find /dev/nosuch: no such file or directory: the device did not appear within 0 s",
	}
	if err != nil || !reflect.DeepEqual(said, want) {
		t.Errorf("Mount says %q, %v, want %q", said, err, want)
	}
}
