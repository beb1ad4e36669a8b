package machine

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"wick/cmd/wick/internal/cache"
	engine "wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
)

// Config describes a machine. The zero value boots a small system made of busybox, with 128 MiB
// of memory and one processor.
//
// The root is Image, or Rootfs, or Base, or the first of Drives with DrivesOnly; else the small
// system. It
// is never written to. The guest's writes go to the overlay, which ends with the machine unless
// Overlay names it.
type Config struct {
	// Image is a container image, as "wick run IMAGE" takes it: a reference to a registry
	// (alpine:3.20), docker-archive:FILE, oci-archive:FILE, oci:DIR[:TAG] or docker-daemon:NAME.
	Image string
	// Pull says when Image is fetched from its registry; PullMissing if "".
	Pull Pull
	// Rootfs is the root as a directory, a tar (also compressed) or a squashfs. A directory
	// or tar is converted once, and kept in the cache.
	Rootfs string
	// RootfsLayers, if not nil, are the directories that Rootfs shows as one, such as those
	// of a mounted overlay. They identify its content in the cache, so another mount of them
	// is not converted again. If it is empty and not nil, the content of Rootfs does, which
	// is then read whole.
	RootfsLayers []string
	// Base are images, the lowest first, that are the root as they are: each a squashfs or an
	// erofs, which is a disk of its own. Nothing is converted, and no image needs a vm-init. The
	// kernel is Debian's larger one if Kernel is "".
	Base []string
	// Drives are disks behind the root image and the overlay: the first is /dev/vdc, or
	// /dev/vdb with Tmpfs. A machine has at most 16 drives in all.
	Drives []Drive
	// DrivesOnly gives the machine no other disks than Drives, as they are: the first is
	// /dev/vda. Nothing is converted, and no drive needs a vm-init, because the initramfs has
	// it. InitArgs say how the root is made. By default the first drive is a squashfs, and
	// the second an ext4 for the guest's writes. An erofs needs a kernel that has it, which
	// Debian's cloud kernel has not. "--root=rw" makes the first one, an ext4, the root
	// itself, and "--base=/dev/vda,/dev/vdb" makes a root of layers, the lowest first.
	DrivesOnly bool
	// Volumes are mounted beside the root, at most 16.
	Volumes []Volume
	// Overlay is an existing ext4 that takes what the guest writes, and keeps it. If it is
	// "", one of OverlayMiB MiB is made (512 if 0), which ends with the machine. Tmpfs keeps
	// the writes in the guest's memory instead.
	Overlay    string
	OverlayMiB int
	Tmpfs      bool

	// MemoryMiB is the memory in MiB, 128 if 0. CPUs is the number of processors, 1 if 0.
	MemoryMiB, CPUs int
	// Net is the network interface, in the form of "wick run --net": "" or "none", "user",
	// "user,host-loopback", or "tap=NAME[,addr=ADDRESS/BITS][,gw=ADDRESS][,mtu=N][,mac=MAC]".
	// The tap device must exist.
	Net string
	// MoreNets are further interfaces, eth1 and so on, each on a tap device in the form of Net.
	MoreNets []string
	// NetNS is the path of the network namespace that has the tap device, such as
	// /run/netns/NAME; this process's own if "". It needs CAP_SYS_ADMIN. It is only for a tap.
	NetNS string

	// Kernel is a vmlinux, a bzImage, or for arm64 an Image, with the drivers built in. "" is
	// Debian's cloud kernel, which is fetched once. Modules are modules of Debian's kernel to
	// load besides those that every machine needs.
	Kernel  string
	Modules []string
	// Cmdline has words for the kernel's command line, and InitArgs options of vm-init, such as
	// "--hostname=web". Neither may have blanks. A kernel takes 32 words for init in all.
	Cmdline, InitArgs []string
	// Options has more options of vm-init, one a line without the hyphens, as on a
	// configuration drive. It has no limit on their number or on blanks.
	Options string
	// Init is the path of the vm-init to boot. If it is "", one beside this program or in the
	// PATH is used.
	Init string
	// Arch is the architecture by Go's name; the host's if "". Another one is emulated.
	Arch string
	// VMM is the monitor: firecracker, qemu-vhost (QEMU with the kernel's vsock device) or
	// qemu. "" takes the first of them that works on this host.
	VMM string

	// Dir is an existing directory, at most 80 bytes long, in which the machine makes its own
	// for sockets and disks; the directory for temporary files if "".
	Dir string
	// CacheDir has the images and kernels; that of "wick run" if "".
	CacheDir string
	// BootLimit is how long the machine may take from its start until it is ready; 60 s if 0.
	// It does not limit the making of images.
	BootLimit time.Duration
	// Console, if not nil, gets all output of the serial port. A slow writer stops the guest
	// when it prints. Verbose makes the kernel log everything there.
	Console io.Writer
	Verbose bool
	// Logger, if not nil, gets errors of the vsock device.
	Logger *slog.Logger
	// Progress, if not nil, gets each step of a boot. Later it gets what a user should know
	// about the machine, such as a full disk of the host. It is called from any goroutine.
	Progress func(text string)
}

// Drive is a disk of a machine: a file or a block device of the host. The machine does not remove
// it.
type Drive struct {
	Path     string
	ReadOnly bool
	// Durable makes the guest's flushes reach the host's disk under Firecracker. QEMU always
	// passes them on.
	Durable bool
	// Serial is the name by which the guest finds the drive, at most 20 characters: vm-init
	// mounts "serial:NAME". Firecracker makes up its own serials.
	Serial string
}

// Volume is a file system that is mounted beside the root when the guest boots. It has Dir, or
// Disk, or with neither memory.
type Volume struct {
	// Target is an absolute path in the guest, without blanks and colons.
	Target string
	// Dir is a directory of the host. QEMU shares it, by virtiofs if virtiofsd is there and
	// by 9p otherwise, which needs Debian's kernel or a Kernel with either. With Copy the
	// guest gets a copy, whose changes are lost. Firecracker can only copy.
	Dir  string
	Copy bool
	// Disk is an ext4 image or block device, which the machine does not remove.
	Disk string
	// ReadOnly keeps the guest from writing.
	ReadOnly bool
	// Options are further options of the mount, with commas between them, such as
	// "nodev,nosuid".
	Options string
}

// Pull says when an image is fetched.
type Pull string

// The policies, as docker names them.
const (
	PullMissing Pull = "missing"
	PullAlways  Pull = "always"
	PullNever   Pull = "never"
)

// A ConfigError reports a Config that no host can boot.
type ConfigError struct{ Reason string }

func (e *ConfigError) Error() string { return "configure a machine: " + e.Reason }

// maxSerial is the longest serial of a virtio drive, in bytes.
const maxSerial = 20

// check refuses what contradicts itself.
func (c *Config) check() error {
	reason := ""
	switch {
	case c.Image != "" && c.Rootfs != "":
		reason = "Image and Rootfs are two roots"
	case c.DrivesOnly && (c.Image != "" || c.Rootfs != "" || c.Overlay != "" || c.Tmpfs):
		reason = "DrivesOnly excludes Image, Rootfs, Overlay and Tmpfs"
	case len(c.Base) > 0 && (c.Image != "" || c.Rootfs != "" || c.DrivesOnly):
		reason = "Base excludes Image, Rootfs and DrivesOnly"
	case c.RootfsLayers != nil && c.Rootfs == "":
		reason = "RootfsLayers needs Rootfs"
	case c.DrivesOnly && len(c.Drives) == 0:
		reason = "DrivesOnly needs Drives"
	case c.Overlay != "" && c.Tmpfs:
		reason = "Overlay and Tmpfs exclude each other"
	case c.MemoryMiB < 0 || c.CPUs < 0 || c.OverlayMiB < 0 || c.BootLimit < 0:
		reason = "a size or time below 0"
	case c.Arch != "" && !slices.Contains(vmm.Archs(), c.Arch):
		reason = fmt.Sprintf("the architecture %q: want %s", c.Arch, strings.Join(vmm.Archs(), " or "))
	case !slices.Contains([]Pull{"", PullMissing, PullAlways, PullNever}, c.Pull):
		reason = fmt.Sprintf("Pull %q: want missing, always or never", c.Pull)
	}
	for _, v := range c.Volumes {
		switch {
		case !strings.HasPrefix(v.Target, "/") || strings.ContainsAny(v.Target+v.Options, ": \t\n"):
			reason = fmt.Sprintf("the volume %q: want an absolute target, and no blanks and colons", v.Target)
		case v.Dir != "" && v.Disk != "":
			reason = fmt.Sprintf("the volume %s: Dir and Disk exclude each other", v.Target)
		}
	}
	if len(c.Volumes) > engine.MaxVolumes {
		reason = fmt.Sprintf("%d volumes: the most is %d", len(c.Volumes), engine.MaxVolumes)
	}
	for _, d := range c.Drives {
		switch {
		case d.Path == "":
			reason = "a drive without a Path"
		case len(d.Serial) > maxSerial:
			reason = fmt.Sprintf("the serial %q has more than %d characters", d.Serial, maxSerial)
		}
	}
	if reason != "" {
		return &ConfigError{reason}
	}
	return nil
}

// engine returns the options of the package that runs the machine.
func (c *Config) engine() (engine.Options, error) {
	if err := c.check(); err != nil {
		return engine.Options{}, err
	}
	o := engine.Options{
		Arch: c.Arch, Init: c.Init, Rootfs: c.Rootfs, Kernel: c.Kernel, Modules: c.Modules,
		MemoryMiB: c.MemoryMiB, CPUs: c.CPUs, Overlay: c.Overlay, OverlayMiB: c.OverlayMiB,
		Tmpfs: c.Tmpfs, DrivesOnly: c.DrivesOnly, Layers: c.RootfsLayers, Base: c.Base, Config: c.Options, Dir: c.Dir, VMM: c.VMM,
		Cmdline: c.Cmdline, InitArgs: c.InitArgs, BootLimit: c.BootLimit,
		Cache: cache.Dir(c.CacheDir), Logger: c.Logger,
	}
	for _, v := range c.Volumes {
		o.Volumes = append(o.Volumes, engine.Volume(v))
	}
	for _, d := range c.Drives {
		o.Drives = append(o.Drives, vmm.Drive(d))
	}
	if c.Verbose {
		o.Console = c.Console
	} else {
		o.ConsoleLog = c.Console
	}
	if c.Net == "" {
		if c.NetNS != "" || len(c.MoreNets) > 0 {
			return o, &ConfigError{"NetNS and MoreNets need an interface in Net"}
		}
		return o, nil
	}
	var err error
	if o.Net, err = vmm.ParseNet(c.Net); err != nil {
		return o, &ConfigError{err.Error()}
	}
	if c.NetNS != "" && (o.Net == nil || o.Net.Tap == "") {
		return o, &ConfigError{"NetNS needs a tap in Net"}
	}
	for _, more := range c.MoreNets {
		n, err := vmm.ParseNet(more)
		if err == nil && (n == nil || n.Tap == "") {
			err = fmt.Errorf("a further interface %q: want tap=NAME", more)
		}
		if err != nil {
			return o, &ConfigError{err.Error()}
		}
		o.Net.More = append(o.Net.More, n)
	}
	o.NetNS = c.NetNS
	return o, nil
}

// The errors of a boot. errors.As finds them.
type (
	// A BootError reports a machine that did not become ready. Its Console has the last lines
	// of the console, and a guest that said the reason is a [*client.BootError] in it.
	BootError = engine.BootError
	// A BackendError reports a monitor that this host cannot run, or that it has none.
	BackendError = vmm.BackendError
	// A MonitorError reports a monitor that failed. Its Output is the monitor's last output.
	MonitorError = engine.MonitorError
)
