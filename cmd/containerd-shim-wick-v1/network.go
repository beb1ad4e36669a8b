package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// tapName is the tap device of a machine, in the network namespace of its container or pod.
const tapName = "wick0"

// joinNetwork joins the machine to a network namespace that a CNI plugin has prepared. It makes a
// tap there, and redirects all frames between it and the first interface. The machine gets the MAC
// address, the IPv4 addresses and the routes of that interface. It returns the machine's network as
// wick run --net takes it, which is "" if there is no interface.
func joinNetwork(path string) (config string, err error) {
	err = inNamespace(path, func() error {
		outer, err := firstInterface()
		if err != nil || outer == nil {
			return err
		}
		config, err = describe(outer)
		if err != nil {
			return err
		}
		if err := makeTap(outer.MTU); err != nil {
			return err
		}
		tap, err := net.InterfaceByName(tapName)
		if err == nil {
			err = errors.Join(redirect(outer.Index, tap.Index), redirect(tap.Index, outer.Index))
		}
		return err
	})
	if err != nil {
		leaveNetwork(path)
		return "", fmt.Errorf("join the network namespace %s: %w", path, err)
	}
	return config, nil
}

// leaveNetwork undoes joinNetwork, if the namespace still exists.
func leaveNetwork(path string) error {
	err := inNamespace(path, func() error {
		tap, err := net.InterfaceByName(tapName)
		if err != nil {
			return nil //nolint:nilerr // the tap is gone already
		}
		if outer, err := firstInterface(); err == nil && outer != nil {
			unredirect(outer.Index)
		}
		body := make([]byte, unix.SizeofIfInfomsg)
		binary.NativeEndian.PutUint32(body[4:], uint32(tap.Index))
		return request(unix.RTM_DELLINK, 0, body)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// inNamespace calls f on a thread in a network namespace.
func inNamespace(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		// The thread is in another namespace, and ends with the goroutine.
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// firstInterface returns the first interface that is up, other than the loopback and the tap, or
// nil.
func firstInterface() (*net.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i := range list {
		n := &list[i]
		if n.Flags&net.FlagUp != 0 && n.Flags&net.FlagLoopback == 0 && len(n.HardwareAddr) == 6 && n.Name != tapName {
			return n, nil
		}
	}
	return nil, nil
}

// describe returns the machine's network, with the addresses and routes of an interface.
func describe(n *net.Interface) (string, error) {
	words := []string{"tap=" + tapName, "mac=" + n.HardwareAddr.String(), fmt.Sprint("mtu=", n.MTU)}
	addresses, err := n.Addrs()
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			words = append(words, "addr="+p.String())
		}
	}
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return "", err
	}
	defer f.Close()
	return strings.Join(append(words, routes(bufio.NewScanner(f), n.Name)...), ","), nil
}

// routes returns the routes of an interface through gateways; those to its own network come with
// its addresses.
func routes(in *bufio.Scanner, name string) (words []string) {
	for in.Scan() {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask; the addresses are hexadecimal in
		// the machine's order.
		f := strings.Fields(in.Text())
		if len(f) < 8 || f[0] != name {
			continue
		}
		to, ok := hexAddress(f[1])
		gateway, ok2 := hexAddress(f[2])
		mask, ok3 := hexAddress(f[7])
		if !ok || !ok2 || !ok3 || gateway.IsUnspecified() {
			continue
		}
		m := mask.As4()
		bits, _ := net.IPMask(m[:]).Size()
		if bits == 0 {
			words = append(words, "gw="+gateway.String())
		} else {
			words = append(words, fmt.Sprintf("route=%s/%d@%s", to, bits, gateway))
		}
	}
	return words
}

func hexAddress(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], binary.NativeEndian.Uint32(b))
	return netip.AddrFrom4(a), true
}

// makeTap makes a tap device that stays, and sets it up.
func makeTap(mtu int) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(tapName)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make the tap device: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("keep the tap device: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	r.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(s, unix.SIOCSIFMTU, r); err != nil {
		return fmt.Errorf("set the mtu of the tap device: %w", err)
	}
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("set the tap device up: %w", err)
	}
	return nil
}
