//go:build linux

package sysinit

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestPlanText(t *testing.T) {
	disk, memory, layers, writable := Default(), Default(), Default(), Default()
	disk.Hostname = "guest"
	memory.Overlay = Tmpfs
	layers.Base += ",/dev/vdc,/dev/vdd"
	writable.WritableRoot = true
	text := "with a disk\n\n" + planText(disk) + "\nin memory\n\n" + planText(memory) +
		"\nwith three layers\n\n" + planText(layers) + "\nwithout an overlay\n\n" + planText(writable) + "\nthe way down\n\n"
	for _, s := range stageSteps {
		text += s.String() + "\n"
	}
	const golden = "testdata/plan.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, golden, text)
	}
	if want := read(t, golden); text != want {
		t.Errorf("the plan has changed (go test -run TestPlanText -update):\n%s", text)
	}
}

func planText(c Config) string {
	text := ""
	for _, s := range Plan(c) {
		mark := "  "
		if s.Required {
			mark = "! "
		}
		text += mark + s.String() + "\n"
	}
	return text
}

func TestStepErrorText(t *testing.T) {
	for _, c := range []struct {
		err  StepError
		want string
	}{
		{StepError{"overlay disk", "mount", "/dev/vdb", "rw", unix.ENODEV, ""}, "overlay disk: mount /dev/vdb on rw: no such device"},
		{StepError{"/tmp", "mkdir", "/tmp", "", unix.ENOSPC, ""}, "/tmp: mkdir /tmp: no space left on device"},
		{StepError{"", "look", "", "", 0, "nothing is there"}, "look: nothing is there"},
		{StepError{"a", "b", "c", "d", unix.EIO, "e"}, "a: b c on d: input/output error: e"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if err := error(&StepError{Op: "x", Errno: unix.ENOSPC}); !errors.Is(err, unix.ENOSPC) {
		t.Error("the errno cannot be asked for")
	}
	if (&StepError{Op: "x"}).Unwrap() != nil {
		t.Error("no errno is not nil")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string
		change  func(*Config)
		level   string
		ignored string
		err     string
	}{
		{args: ""},
		{args: "--base /dev/vdc --overlay=tmpfs", change: func(c *Config) { c.Base, c.Overlay = "/dev/vdc", Tmpfs }},
		{args: "single --hostname a-1.b splash -s --wait 0", change: func(c *Config) { c.Hostname, c.Wait = "a-1.b", 0 }, ignored: "single splash -s"},
		{args: "--wait 5 -- --wait=7", change: func(c *Config) { c.Wait = 7 * time.Second }},
		{args: "--run-size 64m --shm-size=10% --tmpfs-size 4096", change: func(c *Config) { c.RunSize, c.ShmSize, c.TmpfsSize = "64m", "10%", "4096" }},
		{args: "--log-level debug --listen", level: "debug+listen"},
		{args: "--what", err: "--what: unknown option"},
		{args: "--what=1 --log-level=debug", err: "--what: unknown option", level: "debug"},
		{args: "--base", err: "--base: needs a value: DEV[,DEV]"},
		{args: "--base --overlay /dev/vdc", err: "--base: needs a value: DEV[,DEV]", change: func(c *Config) { c.Overlay = "/dev/vdc" }},
		{args: "--base /dev/vda,/dev/vdc", change: func(c *Config) { c.Base = "/dev/vda,/dev/vdc" }},
		{args: "--base /dev/vda,", err: "--base /dev/vda,: not the absolute path of a device"},
		{args: "--base /dev/vda,/dev/vda", err: "--base /dev/vda,/dev/vda: /dev/vda is given twice"},
		{args: "--base " + manyDevices(maxLayers+1), err: "--base " + manyDevices(maxLayers+1) + ": more than 16 devices"},
		{args: "--root rw", change: func(c *Config) { c.WritableRoot = true }},
		{args: "--root=rw --root=overlay"},
		{args: "--root ro", err: "--root ro: not overlay or rw"},
		// This option's Set takes an empty value.
		{args: "--base /dev/vdc --log-level", change: func(c *Config) { c.Base = "/dev/vdc" }},
		{args: "--base= --overlay=vdb", err: "--base: not the absolute path of a device"},
		{args: "--overlay vdb", err: "--overlay vdb: not the absolute path of a device, nor tmpfs"},
		{args: "--hostname a,b", err: "--hostname a,b: not a host name of 1 to 64 letters, digits, dots and hyphens"},
		{args: "--hostname " + strings.Repeat("a", 65), err: "--hostname " + strings.Repeat("a", 65) + ": not a host name of 1 to 64 letters, digits, dots and hyphens"},
		{args: "--wait 3600", change: func(c *Config) { c.Wait = time.Hour }},
		{args: "--wait 3601", err: "--wait 3601: not a number of seconds from 0 to 3600"},
		{args: "--wait soon", err: "--wait soon: not a number of seconds from 0 to 3600"},
		{args: "--wait -1", err: "--wait -1: not a number of seconds from 0 to 3600"},
		{args: "--run-size 1m,exec", err: "--run-size 1m,exec: not a size such as 1048576, 64m or 10%"},
		{args: "--run-size 101%", err: "--run-size 101%: not a size such as 1048576, 64m or 10%"},
		{args: "--run-size=", err: "--run-size: not a size such as 1048576, 64m or 10%"},
		{args: "--grow", change: func(c *Config) { c.Grow = true }},
		{args: "--grow --grow=no"},
		{args: "--grow=1", err: "--grow 1: not yes or no"},
		{args: "--listen=", level: "+listen"},
	} {
		got, want, level := Default(), Default(), ""
		if c.change != nil {
			c.change(&want)
		}
		agent := []Option{
			{Name: "--log-level", Value: "LEVEL", Set: func(v string) error { level += v; return nil }},
			{Name: "--listen", Set: func(string) error { level += "+listen"; return nil }},
		}
		ignored, err := Parse(strings.Fields(c.args), append(got.Options(), got.MountOptions()...), agent)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !reflect.DeepEqual(got, want) || level != c.level || text != c.err || strings.Join(ignored, " ") != c.ignored {
			t.Errorf("%q: %+v, %q, ignored %q, error %q", c.args, got, level, ignored, text)
		}
	}
}

// manyDevices returns a list of n devices.
func manyDevices(n int) string {
	var names []string
	for i := range n {
		names = append(names, "/dev/vd"+itoa(i))
	}
	return strings.Join(names, ",")
}

// TestDefaults checks that the usage text states the defaults.
func TestDefaults(t *testing.T) {
	c := Default()
	options := c.Options()
	for name, want := range map[string]string{
		"--base": c.Base, "--overlay": c.Overlay, "--wait": itoa(int(c.Wait.Seconds())),
		"--tmpfs-size": c.TmpfsSize, "--run-size": c.RunSize, "--shm-size": c.ShmSize,
	} {
		if help := lookup(name, [][]Option{options}).Help; !strings.HasSuffix(help, "(default "+want+")") {
			t.Errorf("%s: %q does not end with the default, %s", name, help, want)
		}
	}
}

func TestEnviron(t *testing.T) {
	for kernel, want := range map[string]string{
		"":                               "PATH=" + Path + " HOME=/root USER=root LOGNAME=root TERM=linux",
		"HOME=/ TERM=linux":              "TERM=linux PATH=" + Path + " HOME=/root USER=root LOGNAME=root",
		"ip=dhcp nfsaddrs=1 ipx=2 psi=1": "ipx=2 PATH=" + Path + " HOME=/root USER=root LOGNAME=root TERM=linux",
		"HOME=/home/me TERM=vt100 TZ=UTC PATH=/bin PATHS=x": "HOME=/home/me TERM=vt100 TZ=UTC PATH=/bin PATHS=x USER=root LOGNAME=root",
	} {
		if got := strings.Join(Environ(strings.Fields(kernel)), " "); got != want {
			t.Errorf("%q: %q, want %q", kernel, got, want)
		}
	}
}

func TestContent(t *testing.T) {
	at := func(offset int, s string) []byte {
		b := make([]byte, probeSize)
		copy(b[offset:], s)
		return b
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		kind  string
		empty bool
	}{
		{"nothing", nil, "", true},
		{"zeros", make([]byte, probeSize), "", true},
		{"noise", at(100, "noise"), "", false},
		{"squashfs", at(0, "hsqs"), "squashfs", false},
		{"ext4", at(1080, "\x53\xef"), "ext4", false},
		{"btrfs", at(65600, "_BHRfS_M"), "btrfs", false},
		{"short", []byte("hsq"), "", false},
		{"short squashfs", []byte("hsqs"), "squashfs", false},
		{"short ext4", at(1080, "\x53\xef")[:1082], "ext4", false},
	} {
		var got content
		got.read(c.bytes)
		if got.kind != c.kind || got.empty != c.empty {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestImports checks that process 1 contains no package that it does not need, and above all no
// second scheduler.
func TestImports(t *testing.T) {
	banned := map[string]string{
		"fmt":           "reflection, and half a megabyte",
		"os":            "raises RLIMIT_NOFILE, registers descriptors with the runtime's poller",
		"os/exec":       "waits for its children itself",
		"os/signal":     "a goroutine",
		"net":           "the runtime's poller, a resolver",
		"log":           "fmt",
		"context":       "timers and goroutines",
		"encoding/json": "reflection",
		"path/filepath": "os",
		"runtime/debug": "fmt, os",
		"wick/reactor":  "the way up runs before it",
		"wick/framing":  "the way up knows mounts and no wire",
		"internal/poll": "the runtime's poller",
		"text/template": "reflection",
	}
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Skipf("go list: %v: put go in the PATH\n%s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if why, bad := banned[dep]; bad {
			t.Errorf("%s: %s", dep, why)
		}
	}
	out, err = exec.Command("go", "list", "-f", `{{join .Imports " "}}`, ".").CombinedOutput()
	if got, want := strings.TrimSpace(string(out)), "golang.org/x/sys/unix runtime strconv syscall time unsafe"; err != nil || got != want {
		t.Errorf("imports %q, %v, want %q", got, err, want)
	}
}
