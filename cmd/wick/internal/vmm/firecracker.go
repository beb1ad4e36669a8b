package vmm

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The parts of Firecracker's configuration file that we use (its docs/getting-started.md and
// src/vmm/src/resources.rs).
type fcConfig struct {
	BootSource    fcBoot    `json:"boot-source"`
	Drives        []fcDrive `json:"drives"`
	MachineConfig fcMachine `json:"machine-config"`
	Vsock         *fcVsock  `json:"vsock,omitempty"`
	Nets          []fcNet   `json:"network-interfaces,omitempty"`
}

type fcBoot struct {
	KernelImagePath string `json:"kernel_image_path"`
	BootArgs        string `json:"boot_args"`
	InitrdPath      string `json:"initrd_path,omitempty"`
}

type fcDrive struct {
	DriveID      string `json:"drive_id"`
	PathOnHost   string `json:"path_on_host"`
	IsRootDevice bool   `json:"is_root_device"`
	IsReadOnly   bool   `json:"is_read_only"`
	CacheType    string `json:"cache_type,omitempty"`
}

type fcMachine struct {
	VCPUCount  int `json:"vcpu_count"`
	MemSizeMiB int `json:"mem_size_mib"`
}

type fcNet struct {
	IfaceID     string `json:"iface_id"`
	HostDevName string `json:"host_dev_name"`
	GuestMAC    string `json:"guest_mac"`
}

type fcVsock struct {
	GuestCID uint32 `json:"guest_cid"`
	UDSPath  string `json:"uds_path"`
}

// firecrackerWords are the parameters that the kernel needs in Firecracker's machine;
// cmd/vm-init/firecracker.md has the reasons. Firecracker itself adds pci=off, unless it runs with
// --enable-pci. i8042.nopnp is not among them. Without PnP an ACPI kernel has no interrupt for the
// keyboard, and Ctrl-Alt-Del is lost.
var firecrackerWords = []string{"reboot=k", "i8042.noaux", "i8042.nomux", "i8042.dumbkbd"}

// FirecrackerConfig returns the content of Firecracker's configuration file. uds is the path of its
// vsock device's Unix socket.
//
// Firecracker exits when the guest resets through the keyboard controller (reboot=k). The guest
// does so on each kind of shutdown and after a panic.
func FirecrackerConfig(spec *Spec, uds string) ([]byte, error) {
	s := spec.withDefaults()
	c := fcConfig{
		BootSource:    fcBoot{KernelImagePath: s.Kernel, InitrdPath: s.Initramfs},
		Drives:        []fcDrive{},
		MachineConfig: fcMachine{VCPUCount: s.CPUs, MemSizeMiB: s.MemoryMiB},
	}
	for i, d := range s.Drives {
		// The root device adds root=/dev/vda to the command line, with ro if it is read-only.
		root := i == 0 && s.Initramfs == ""
		drive := fcDrive{
			DriveID: fmt.Sprintf("disk%d", i), PathOnHost: d.Path,
			IsRootDevice: root, IsReadOnly: d.ReadOnly,
		}
		if d.Durable {
			drive.CacheType = "Writeback" // by default Firecracker's disks have no flush
		}
		c.Drives = append(c.Drives, drive)
	}
	if !s.NoVsock {
		c.Vsock = &fcVsock{GuestCID: s.CID, UDSPath: uds}
	}
	for i, n := range s.Net.all() {
		c.Nets = append(c.Nets, fcNet{fmt.Sprintf("eth%d", i), n.Tap, n.MAC()})
	}
	c.BootSource.BootArgs = s.cmdline("ttyS0", slices.Clone(firecrackerWords)...)
	b, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write firecracker's configuration: %w", err)
	}
	return append(b, '\n'), nil
}

// FirecrackerArgs returns Firecracker's command line, without the program. The serial port is its
// standard output. config is the configuration file, or "" for a machine that is loaded by the API.
func FirecrackerArgs(api, config string) []string {
	args := []string{"--api-sock", api, "--level", "Error"}
	if config != "" {
		args = append(args, "--config-file", config)
	}
	return args
}
