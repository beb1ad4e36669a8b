package guesttest

import (
	"maps"
	"strings"
	"testing"

	"wick/cmd/wick/internal/vmm"
)

// TestConfiguration boots with a configuration drive, and again with a configuration in the root
// too. The kernel's command line wins over the drive, and the drive over the root's file.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	text := "# for a test\nhostname=drive\nmax-commands=7\nmax-exits=8\nno-such=1\nbase=/dev/vdx\n\x00max-exits=9\n"
	c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: file(t, append([]byte(text), make([]byte, 4096)...))})
	disk := c.overlay
	c.overlay = ""
	c.InitArgs = []string{"--config=/dev/vdc", "--max-commands=6", "--base=/dev/vda"}
	v, conn := boot(t, l, c)
	hello, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	facts := maps.Collect(hello.Under(""))
	for name, want := range map[string]string{
		"limit.commands": "6", "limit.exits": "8",
		"config.max-commands": "the kernel's command line", "config.max-exits": "/dev/vdc line 4", "config.hostname": "/dev/vdc line 2",
		"degraded.config.1": "/dev/vdc line 5: no-such: unknown option",
	} {
		if facts[name] != want {
			t.Errorf("fact %s is %q, want %q", name, facts[name], want)
		}
	}
	if got := run(t, conn, "hostname"); got != "drive\n" {
		t.Errorf("the host name is %q, want that of the drive", got)
	}
	put(t, conn, "/etc/vm-init.conf", []byte("max-exits=5\nmax-kept=4\nbase=/dev/vdy\n"))
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, disk)

	v, conn = boot(t, l, c)
	if hello, err = conn.Hello(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	facts = maps.Collect(hello.Under(""))
	if facts["limit.exits"] != "8" || facts["limit.kept"] != "4" || facts["config.max-kept"] != "/etc/vm-init.conf line 2" {
		t.Errorf("limit.exits %q, limit.kept %q, set by %q", facts["limit.exits"], facts["limit.kept"], facts["config.max-kept"])
	}
	if got := facts["degraded.config.2"]; !strings.HasPrefix(got, "/etc/vm-init.conf line 3: base: the image cannot set it") {
		t.Errorf("degraded.config.2 is %q", got)
	}
	signal(t, conn, "TERM")
	v.gone()
}

// TestConfigurationFails boots with a drive that cannot be read, and with one whose word for the
// root is wrong. The host is told where.
func TestConfigurationFails(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	for name, want := range map[string]string{
		"missing": "vm-init: configuration: find /dev/vdc: no such file or directory: the device did not appear within 0 s",
		"wrong":   "vm-init: /dev/vdc line 1: base vda: not the absolute path of a device",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := usual(t, l)
			c.InitArgs = []string{"--wait=0", "--config=/dev/vdc"}
			if name == "wrong" {
				c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: file(t, append([]byte("base=vda\n"), make([]byte, 4096)...))})
				c.overlay = ""
			}
			fails(t, l, c, want)
		})
	}
}
