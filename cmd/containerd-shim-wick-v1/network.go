package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"wick/framing/client"
)

// tapPrefix begins the name of a machine's tap device in the network namespace of its container or
// pod. The index of the interface that it belongs to follows.
const tapPrefix = "wick"

// maxInterfaces limits the interfaces of a machine.
const maxInterfaces = 8

// wiring is a network namespace that a machine has joined.
type wiring struct {
	taps []string // of the machine's interfaces, as wick run --net takes them
	// config is what the machine's interfaces have.
	config client.Network
}

// joinNetwork joins the machine to a network namespace that a CNI plugin has prepared. It makes a
// tap there for each interface that is up, and redirects all frames between the two. The machine
// gets the MAC addresses, MTUs, IP addresses and routes of these interfaces. There may be none.
func joinNetwork(path string) (w wiring, err error) {
	err = inNamespace(path, func() error {
		outer, err := interfaces()
		if err != nil {
			return err
		}
		if w.config, err = describe(outer); err != nil {
			return err
		}
		for _, n := range outer {
			name := tapPrefix + strconv.Itoa(n.Index)
			if err := makeTap(name, n.MTU); err != nil {
				return err
			}
			tap, err := net.InterfaceByName(name)
			if err == nil {
				err = errors.Join(redirect(n.Index, tap.Index), redirect(tap.Index, n.Index))
			}
			if err != nil {
				return fmt.Errorf("connect %s: %w", n.Name, err)
			}
			w.taps = append(w.taps, "tap="+name+",mac="+n.HardwareAddr.String())
		}
		return nil
	})
	if err != nil {
		leaveNetwork(path)
		return wiring{}, fmt.Errorf("join the network namespace %s: %w", path, err)
	}
	return w, nil
}

// leaveNetwork undoes joinNetwork, if the namespace still exists.
func leaveNetwork(path string) error {
	err := inNamespace(path, func() error {
		list, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, tap := range list {
			outer, ok := tapOf(tap.Name)
			if !ok {
				continue
			}
			unredirect(outer)
			body := make([]byte, unix.SizeofIfInfomsg)
			binary.NativeEndian.PutUint32(body[4:], uint32(tap.Index))
			err = errors.Join(err, request(unix.RTM_DELLINK, 0, body))
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tapOf returns the index of the interface that a tap of ours belongs to.
func tapOf(name string) (index int, ok bool) {
	text, ours := strings.CutPrefix(name, tapPrefix)
	index, err := strconv.Atoi(text)
	return index, ours && err == nil
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

// makeTap makes a tap device that stays, and sets it up.
func makeTap(name string, mtu int) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
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
