package machine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/vmm"
)

// checkNet refuses a network that this host or the backend cannot provide, before anything is built
// for it. backend may be "". A tap in another namespace is left to the monitor.
func checkNet(n *vmm.Net, backend, netns string) error {
	switch {
	case n.Tap != "" && netns != "":
		return nil
	case n.Tap != "":
		return checkTap(n.Tap)
	}
	if backend == vmm.Firecracker {
		return errors.New("--net user: Firecracker has no network in user mode; use --net tap=NAME or --vmm qemu")
	}
	return nil
}

// checkTap opens the tap device as the monitor will, and closes it again.
func checkTap(name string) error {
	fail := func(reason string) error { return fmt.Errorf("--net tap=%s: %s", name, reason) }
	dir := "/sys/class/net/" + name
	if _, err := os.Stat(dir); err != nil {
		return fail("no such device on this host; create it (as root: ip tuntap add " + name +
			" mode tap user $USER)")
	}
	text, err := os.ReadFile(dir + "/tun_flags")
	flags, bad := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 16)
	if err != nil || bad != nil || flags&unix.IFF_TAP == 0 {
		return fail("not a tap device")
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fail(err.Error())
	}
	defer f.Close()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fail(err.Error())
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	switch err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, request); err {
	case nil:
		return nil
	case unix.EBUSY:
		return fail("in use by another program")
	case unix.EPERM:
		return fail("not permitted; create it for this user (as root: ip tuntap add " + name +
			" mode tap user $USER)")
	default:
		return fail("attach: " + err.Error())
	}
}
