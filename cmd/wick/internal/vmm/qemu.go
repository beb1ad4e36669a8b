package vmm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// QEMURun holds the settings of one run of QEMU.
type QEMURun struct {
	// KVM says whether to use it. Without it, TSCkHz is the rate of the host's time stamp counter.
	KVM    bool
	TSCkHz int
	// VhostSocket is where the vsock device of package vhostvsock listens. If it is "", the machine
	// has the kernel's device, and VhostFD is the descriptor of /dev/vhost-vsock that QEMU
	// inherits.
	VhostSocket string
	VhostFD     int
	// NetFD is the descriptor of the connection with package usernet that QEMU inherits.
	NetFD int
	// QMPFD is the descriptor of the monitor's connection that QEMU inherits, or 0.
	QMPFD int
	// Incoming has the machine wait for a saved state; see [QMP.Load].
	Incoming bool
}

// board describes QEMU's machine for an architecture.
type board struct {
	// program is QEMU's, and debian and fedora the packages that have it.
	program, debian, fedora string
	// machine is the board's name and options. mute is added for a machine without a serial port. A
	// board that must have one gets one that is connected to nothing.
	machine, mute string
	// cpu is the processor to emulate.
	cpu string
	// console is the serial port's device, and cmdline adds to the kernel command line.
	console string
	cmdline []string
	// The devices get their virtio-mmio slots from slot on, each step further. This must be the
	// order in which the guest finds them.
	slot, step int
}

var boards = map[string]*board{
	"amd64": {
		program: "qemu-system-x86_64", debian: "qemu-system-x86", fedora: "qemu-system-x86-core",
		machine: "microvm,acpi=on,rtc=on,pcie=off", mute: ",isa-serial=off", cpu: "max",
		// There is no PCI bus to probe.
		console: "ttyS0", cmdline: []string{"reboot=t", "pci=off"},
		// ACPI's tables describe the slots up to 23, the highest first. Slot 0 gets no interrupts:
		// a device there hangs.
		slot: 23, step: -1,
	},
	// This architecture has no microvm. The processor is a server processor of many clouds. An
	// emulated machine needs 1.7 s of CPU time from start to end with it. With "max" it needs 2.2
	// to 5.7 s, because the kernel then signs its pointers.
	hotPlug: {
		machine: "q35", cpu: "max",
		console: "ttyS0", cmdline: []string{"reboot=t"},
	},
	"arm64": {
		program: "qemu-system-aarch64", debian: "qemu-system-arm", fedora: "qemu-system-aarch64-core",
		machine: "virt,gic-version=max", cpu: "neoverse-n1",
		console: "ttyAMA0",
		// The device tree describes the lowest slot first.
		slot: 0, step: 1,
	},
}

// hotPlug is the key of the board of [Spec.HotPlug].
const hotPlug = "hot-plug"

// Archs returns the architectures of the machines that wick can run.
func Archs() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(boards)), func(arch string) bool { return arch == hotPlug })
}

// QEMUArgs returns QEMU's command line, without the program. The serial port is its standard
// output. The architecture must be one for which [Host.Choose] found QEMU.
func QEMUArgs(spec *Spec, run QEMURun) []string {
	s := spec.withDefaults()
	b := boards[s.Arch]
	if s.HotPlug {
		b = boards[hotPlug]
	}
	machine := b.machine
	var args []string
	add := func(a ...string) { args = append(args, a...) }
	// The back-end of a vhost-user device maps the guest's memory, so it must be a file to pass on.
	if run.VhostSocket != "" && !s.NoVsock || slices.ContainsFunc(s.Shares, func(f Share) bool { return f.Socket != "" }) {
		machine += ",memory-backend=mem"
		add("-object", "memory-backend-memfd,id=mem,share=on,size="+mib(s.MemoryMiB))
	}
	if s.NoConsole {
		machine += b.mute
	}
	add("-M", machine)
	first := slices.Clone(b.cmdline)
	if run.KVM {
		add("-accel", "kvm", "-cpu", "host")
	} else {
		add("-accel", "tcg,thread=multi", "-cpu", b.cpu)
		if run.TSCkHz > 0 {
			// Under emulation the kernel sometimes fails to time the counter against the timer
			// chip, and retries forever.
			first = append(first, "tsc_early_khz="+strconv.Itoa(run.TSCkHz))
		}
	}
	if s.HotPlug {
		add("-m", mib(s.MemoryMiB)+",slots=2,maxmem=1G", "-smp", strconv.Itoa(s.CPUs)+",maxcpus=4,sockets=1,cores=4,threads=1")
		for i := range 2 {
			add("-device", fmt.Sprintf("pcie-root-port,id=plug%d,chassis=%[1]d", i))
		}
	} else {
		add("-m", mib(s.MemoryMiB), "-smp", strconv.Itoa(s.CPUs))
	}
	add("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
	// A guest that escapes into QEMU can start no program and gain no privileges.
	add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	if s.NoConsole {
		add("-serial", "none")
	} else {
		add("-serial", "stdio")
	}
	if run.QMPFD > 0 {
		add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", run.QMPFD))
		add("-mon", "chardev=qmp,mode=control")
	}
	// vsock and Linux's ACPI probing need the modern virtio interface, which is not the default.
	add("-global", "virtio-mmio.force-legacy=false")
	slot := b.slot
	// kind returns a device for the board, and bus the place of the next one.
	kind := func(device string) string {
		if s.HotPlug {
			return device + "-pci"
		}
		return device + "-device"
	}
	bus := func() string {
		slot += b.step
		if s.HotPlug {
			return "bus=pcie.0"
		}
		return fmt.Sprintf("bus=virtio-mmio-bus.%d", slot-b.step)
	}
	for i, d := range s.Drives {
		// By default QEMU silently stops the guest when the host's disk is full. The guest should
		// get an I/O error instead.
		readonly, failed, discard := "off", ",werror=report,rerror=report", ",discard=unmap"
		if d.ReadOnly {
			readonly, failed, discard = "on", "", ""
		}
		if d.Serial != "" {
			failed += ",serial=" + escape(d.Serial)
		}
		const drive = "if=none,id=disk%d,format=raw,readonly=%s%s,file=%s"
		add("-drive", fmt.Sprintf(drive, i, readonly, discard, escape(d.Path)))
		add("-device", fmt.Sprintf("%s,drive=disk%d%s,%s", kind("virtio-blk"), i, failed, bus()))
	}
	for i, f := range s.Shares {
		if f.Socket != "" {
			add("-chardev", fmt.Sprintf("socket,id=fs%d,path=%s", i, escape(f.Socket)))
			add("-device", fmt.Sprintf("%s,chardev=fs%d,tag=%s,%s", kind("vhost-user-fs"), i, escape(f.Tag), bus()))
			continue
		}
		fsdev := fmt.Sprintf("local,id=fs%d,security_model=none,multidevs=remap,path=%s", i, escape(f.Path))
		if f.ReadOnly {
			fsdev += ",readonly=on"
		}
		add("-fsdev", fsdev)
		add("-device", fmt.Sprintf("%s,fsdev=fs%d,mount_tag=%s,%s", kind("virtio-9p"), i, escape(f.Tag), bus()))
	}
	switch {
	case s.NoVsock:
	case run.VhostSocket != "":
		add("-chardev", "socket,id=vsock,path="+escape(run.VhostSocket))
		add("-device", kind("vhost-user-vsock")+",chardev=vsock,"+bus())
	default:
		add("-device",
			fmt.Sprintf("%s,guest-cid=%d,vhostfd=%d,%s", kind("vhost-vsock"), s.CID, run.VhostFD, bus()))
	}
	for i, n := range s.Net.all() {
		add("-netdev", n.netdev(i, run.NetFD))
		add("-device", fmt.Sprintf("%s,netdev=net%d,mac=%s,%s", kind("virtio-net"), i, escape(n.MAC()), bus()))
	}
	if s.Balloon {
		add("-device", kind("virtio-balloon")+","+bus())
	}
	if s.Keyboard {
		add("-device", "i8042")
	}
	add("-kernel", s.Kernel)
	if s.Initramfs != "" {
		add("-initrd", s.Initramfs)
	} else {
		first = append(first, "root=/dev/vda", "ro")
	}
	add("-append", s.cmdline(b.console, first...))
	if run.Incoming {
		add("-incoming", "defer")
	}
	return args
}

// escape doubles commas, which end a value in QEMU's options.
func escape(path string) string {
	var b []byte
	for i := range len(path) {
		if path[i] == ',' {
			b = append(b, ',')
		}
		b = append(b, path[i])
	}
	return string(b)
}
