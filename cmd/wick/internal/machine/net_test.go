package machine

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/vmm"
)

// TestCheckNet refuses before a boot what cannot be booted.
func TestCheckNet(t *testing.T) {
	t.Parallel()
	want := func(n *vmm.Net, backend, want string) {
		t.Helper()
		if err := checkNet(n, backend, ""); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("checkNet(%+v, %q) = %v, want %q", n, backend, err, want)
		}
	}
	want(&vmm.Net{}, "", "")
	want(&vmm.Net{}, vmm.QEMU, "")
	want(&vmm.Net{}, vmm.Firecracker, "--net user: Firecracker has no network in user mode; use --net tap=NAME")
	want(&vmm.Net{Tap: "wick.none"}, vmm.Firecracker, "--net tap=wick.none: no such device on this host; create it")
	want(&vmm.Net{Tap: "lo"}, "", "--net tap=lo: not a tap device")

	name := fmt.Sprintf("wick.t%d", os.Getpid())
	if out, err := exec.Command("ip", "tuntap", "add", name, "mode", "tap").CombinedOutput(); err != nil {
		t.Skipf("ip tuntap: %v: %s (run the tests as root, with iproute2, and load the module tun)", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
	n := &vmm.Net{Tap: name}
	want(n, "", "")
	want(n, vmm.Firecracker, "") // the first check has let go of it
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	want(n, "", "in use by another program")
}
