//go:build linux

package sysinit

import "testing"

// TestSysctl parses names and values. As in sysctl(8), the first of . and / separates.
func TestSysctl(t *testing.T) {
	for value, want := range map[string]string{
		"net.core.somaxconn=1024":                  "/proc/sys/net/core/somaxconn",
		"net/core/somaxconn=1":                     "/proc/sys/net/core/somaxconn",
		"net.ipv4.conf.eth0/100.forwarding = 1":    "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
		"net/ipv4/conf/eth0.100/forwarding=1":      "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
		"kernel.core_pattern=|/bin/core %p a=b  c": "/proc/sys/kernel/core_pattern",
		"hostname=":          "/proc/sys/hostname",
		"net.core.somaxconn": "",
		"=1":                 "",
		"../../etc/passwd=1": "",
		"net..core=1":        "",
		"net/../core=1":      "",
		".net=1":             "",
		"net/=1":             "",
		"a b=1":              "",
	} {
		var list [][2]string
		got := ""
		if err := setSysctl(&list, value); err == nil {
			got = sysctlPath(list[0][0])
		}
		if got != want {
			t.Errorf("setSysctl(%q) leads to %q, want %q", value, got, want)
		}
	}
	list := [][2]string{{"a", "1"}, {"b", "2"}}
	if err := setSysctl(&list, "a=3=4"); err != nil || len(list) != 2 || list[0][1] != "3=4" {
		t.Errorf("setSysctl of a known name makes %q, %v", list, err)
	}
}

// TestTimezone accepts names of zones, and nothing that leads out of their directory.
func TestTimezone(t *testing.T) {
	for value, ok := range map[string]bool{
		"Europe/Berlin": true, "UTC": true, "Etc/GMT+1": true, "CET-1CEST,M3.5.0,M10.5.0/3": true, "<+01>-1": true,
		"": false, "/etc/passwd": false, "../x": false, "a/../b": false, "a b": false, "a\nb": false,
	} {
		var zone string
		if err := setTimezone(&zone, value); (err == nil) != ok {
			t.Errorf("setTimezone(%q) = %v, want ok %t", value, err, ok)
		}
	}
}

// TestDependencies finds modules in an index as depmod(8) writes it.
func TestDependencies(t *testing.T) {
	const index = "kernel/net/core.ko.xz:\n" +
		"kernel/drivers/net/virtio_net.ko.zst: kernel/net/core/failover.ko.zst kernel/lib/x.ko\n" +
		"/opt/nf-tables.ko: kernel/lib/x.ko\n" +
		"kernel/fs/virtio_net_extra.ko:\nlast.ko: x.ko"
	for name, want := range map[string]string{
		"core":       "kernel/net/core.ko.xz",
		"virtio_net": "kernel/drivers/net/virtio_net.ko.zst kernel/net/core/failover.ko.zst kernel/lib/x.ko",
		"virtio-net": "kernel/drivers/net/virtio_net.ko.zst kernel/net/core/failover.ko.zst kernel/lib/x.ko",
		"nf_tables":  "/opt/nf-tables.ko kernel/lib/x.ko",
		"last":       "last.ko x.ko",
		"virtio":     "", "x": "", "failover": "",
	} {
		if got := dependencies([]byte(index), name); got != want {
			t.Errorf("dependencies of %s are %q, want %q", name, got, want)
		}
	}
	if got := dependencies([]byte("kernel/fs/ext4/ext4.ko\n"), "ext4"); got == "" {
		t.Error("a module that is built in is not found")
	}
	for value, ok := range map[string]bool{"a,b-c": true, "virtio_net": true, "": false, "a,": false, "../a": false, "a.ko": false} {
		var names []string
		if err := setModules(&names, value); (err == nil) != ok {
			t.Errorf("setModules(%q) = %v, want ok %t", value, err, ok)
		}
	}
}
