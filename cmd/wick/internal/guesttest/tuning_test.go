package guesttest

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wick/framing"
	"wick/framing/client"
)

// TestTuning boots a machine, watches its overlay, and gives its image modules, settings and a time
// zone, each from another source. The next boot has them, and says what it could not do.
func TestTuning(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	v, conn := boot(t, l, c)
	wantWatched(t, conn)
	release := strings.TrimSpace(run(t, conn, "uname -r"))
	dir := "/lib/modules/" + release + "/"
	run(t, conn, "mkdir -p "+dir+" /usr/share/zoneinfo/Europe")
	for _, path := range []string{"kernel/net/ipv4/udp_tunnel.ko", "kernel/net/ipv6/ip6_udp_tunnel.ko"} {
		content, err := os.ReadFile(filepath.Join(l.Kernel.Modules, path))
		if err != nil {
			t.Fatal(err)
		}
		put(t, conn, dir+filepath.Base(path), content)
	}
	put(t, conn, dir+"modules.dep", []byte("ip6_udp_tunnel.ko: udp_tunnel.ko\nudp_tunnel.ko:\n"))
	put(t, conn, "/usr/share/zoneinfo/Europe/Berlin", []byte("TZif"))
	put(t, conn, "/etc/vm-init.conf", []byte("modules=ip6-udp-tunnel,no_such\nsysctl=net.core.somaxconn=77\nsysctl=vm.swappiness=1\n"))
	if got := run(t, conn, "cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range"); got != "0\n0\t2147483647\n" {
		t.Errorf("without settings the ports and groups for ping are %q", got)
	}
	signal(t, conn, "TERM")
	v.gone()

	c.InitArgs = []string{"--timezone=Europe/Berlin", "--sysctl=vm.swappiness=2", "--sysctl=no.such=1", "--sysctl=net.ipv4.ip_unprivileged_port_start=80"}
	v, conn = boot(t, l, c)
	if got := run(t, conn, "cut -d' ' -f1 /proc/modules | grep udp_tunnel | sort"); got != "ip6_udp_tunnel\nudp_tunnel\n" {
		t.Errorf("the modules loaded are %q", got)
	}
	got := run(t, conn, "cd /proc/sys; cat net/core/somaxconn vm/swappiness net/ipv4/ip_unprivileged_port_start; readlink /etc/localtime; echo TZ $TZ; grep -c mqueue /proc/mounts")
	if got != "77\n2\n80\n/usr/share/zoneinfo/Europe/Berlin\nTZ\n1\n" {
		t.Errorf("the settings, the time zone and the message queues are %q", got)
	}
	hello, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	facts := maps.Collect(hello.Under(""))
	for name, want := range map[string]string{
		"config.sysctl.vm.swappiness": "the kernel's command line", "config.sysctl.net.core.somaxconn": "/etc/vm-init.conf line 2",
		"degraded.module no_such": "module no_such: find no_such: no such file or directory: " + dir + "modules.dep does not name it",
		"degraded.sysctl no.such": "sysctl no.such: open /proc/sys/no/such: no such file or directory: the kernel has no such setting, or it needs a module",
	} {
		if facts[name] != want {
			t.Errorf("fact %s is %q, want %q", name, facts[name], want)
		}
	}
	signal(t, conn, "TERM")
	v.gone()
}

// wantWatched watches a directory of the image on the overlay. A file and a directory of the image
// are changed, and a new directory comes with its content.
func wantWatched(t *testing.T, conn *client.Client) {
	t.Helper()
	want := []string{"look ", "modified passwd", "created new", "created new/sub", "created new/sub/f", "renamed new moved", "removed moved"}
	kinds := map[client.WatchKind]string{
		framing.WatchLook: "look", framing.WatchModified: "modified", framing.WatchCreated: "created",
		framing.WatchRenamed: "renamed", framing.WatchRemoved: "removed",
	}
	for e, err := range conn.Watch(deadline(t, stepLimit), "/etc", client.WatchOptions{Tree: true}) {
		if err != nil {
			t.Fatalf("the watch ends before %q: %v", want[0], err)
		}
		text := strings.TrimSuffix(kinds[e.Kind]+" "+e.Path+" "+e.Other, " ")
		if text != want[0] {
			continue
		}
		switch want = want[1:]; text {
		case "look ":
			run(t, conn, "echo '#' >>/etc/passwd; mkdir -p /etc/new/sub; echo >/etc/new/sub/f")
		case "created new/sub/f":
			run(t, conn, "mv /etc/new /etc/moved; rm -r /etc/moved")
		}
		if len(want) == 0 {
			return
		}
	}
}
