package vmm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Host describes what this host has to run machines of an architecture.
type Host struct {
	Arch string
	// Firecracker and QEMU are the programs' paths, or "".
	Firecracker, QEMU string
	// KVM and Vhost say why /dev/kvm and /dev/vhost-vsock cannot be opened. They are nil if they
	// can, which does not mean that they work.
	KVM, Vhost error
}

// Look examines this host. Only QEMU can run a machine of another architecture, by emulation.
func Look(arch string) *Host {
	h := &Host{Arch: arch, Vhost: opens("/dev/vhost-vsock")}
	if b := boards[arch]; b != nil {
		h.QEMU, _ = exec.LookPath(b.program)
	}
	if arch != runtime.GOARCH {
		h.KVM = fmt.Errorf("this host is an %s, and the machine an %s", runtime.GOARCH, arch)
		return h
	}
	h.KVM = opens("/dev/kvm")
	h.Firecracker, _ = exec.LookPath("firecracker")
	return h
}

func opens(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Choice is a backend and how to run it.
type Choice struct {
	// Backend is one of the names, Program the path of its program.
	Backend, Program string
	// KVM says that it runs under KVM. Otherwise NoKVM is the reason, and TSCkHz the rate of the
	// host's time stamp counter.
	KVM    bool
	NoKVM  string
	TSCkHz int
}

// Engine describes the choice to users: "qemu, emulated".
func (c *Choice) Engine() string {
	if c.KVM {
		return c.Backend + ", KVM"
	}
	return c.Backend + ", emulated"
}

// BackendError reports a backend that this host cannot run. With Backend "" it can run no backend.
type BackendError struct {
	Backend string
	Reason  string
	Err     error
}

func (e *BackendError) Error() string {
	s := "run " + e.Backend + ": " + e.Reason
	if e.Backend == "" {
		s = "find a virtual machine monitor: " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *BackendError) Unwrap() error { return e.Err }

// Trial finds out whether a backend works under KVM here.
type Trial func(Choice) (Answer, error)

// Answer is the result of a trial.
type Answer struct {
	KVM    bool   `json:"kvm"`
	Reason string `json:"reason,omitempty"` // of a negative answer
	TSCkHz int    `json:"tsc_khz"`
}

// needed returns the QEMU program that is missing and how to get it.
func (h *Host) needed() (program, remedy string) {
	b := boards[h.Arch]
	if b == nil {
		return "QEMU", "there are machines of " + strings.Join(Archs(), " and ")
	}
	return b.program, "install QEMU: as root, apt-get install " + b.debian + ", or dnf install " + b.fedora
}

// Choose chooses the backend: forced, unless that is "".
func (h *Host) Choose(forced string, try Trial) (Choice, error) {
	switch forced {
	case "":
		for _, backend := range []string{Firecracker, QEMUVhost, QEMU} {
			c, err := h.choose(backend, try)
			if _, unusable := errors.AsType[*BackendError](err); unusable {
				continue
			}
			return c, err
		}
		program, remedy := h.needed()
		return Choice{}, &BackendError{Reason: "neither firecracker (with a working KVM) nor " +
			program + " is here; " + remedy}
	case Firecracker, QEMUVhost, QEMU:
		return h.choose(forced, try)
	}
	return Choice{}, &BackendError{forced,
		fmt.Sprintf("no such backend; there are %s, %s and %s", Firecracker, QEMUVhost, QEMU), nil}
}

func (h *Host) choose(backend string, try Trial) (Choice, error) {
	c := Choice{Backend: backend, Program: h.QEMU}
	switch {
	case backend == Firecracker && h.Firecracker == "":
		return c, &BackendError{backend, "no firecracker in the PATH", nil}
	case backend == Firecracker && h.KVM != nil:
		return c, &BackendError{backend, "no KVM", h.KVM}
	case backend == Firecracker:
		c.Program = h.Firecracker
	case h.QEMU == "":
		program, remedy := h.needed()
		return c, &BackendError{backend, "no " + program + " in the PATH; " + remedy, nil}
	case backend == QEMUVhost && h.Vhost != nil:
		return c, &BackendError{backend, "no vhost-vsock (as root: modprobe vhost_vsock)", h.Vhost}
	}
	if h.KVM != nil {
		c.NoKVM = h.KVM.Error()
		if h.Arch == runtime.GOARCH {
			c.TSCkHz = MeasureTSC()
		}
		return c, nil
	}
	a, err := try(c)
	if err != nil {
		return c, err
	}
	c.KVM, c.NoKVM, c.TSCkHz = a.KVM, a.Reason, a.TSCkHz
	if backend == Firecracker && !c.KVM {
		return c, &BackendError{backend, "KVM does not work here: " + c.NoKVM, nil}
	}
	return c, nil
}
