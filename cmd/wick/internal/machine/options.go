package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// Options describes a run: a machine and its use. The zero value of a field is the usual choice,
// except for Use.
type Options struct {
	// Use uses the booted machine. Its context comes from [Run], and its error becomes Run's.
	Use func(context.Context, *client.Client) error
	// From is the directory of a saved machine, which goes on; see [Machine.Save]. The fields about
	// the machine itself have no effect then. Hostname is its new name; "" leaves it.
	From, Hostname string
	// Arch is the machine's architecture by Go's name; the host's if "". Another one is emulated.
	Arch string
	// Init is the path of the vm-init to boot; that of [findInit] if "".
	Init string
	// Rootfs is a directory, a tar or a squashfs; "" is a small system made of busybox.
	Rootfs string
	// Layers, if not nil, are the directories that Rootfs shows as one; see [image.Layered].
	Layers []string
	// Image, if not nil, is a container image to make the root of, instead of Rootfs.
	Image *oci.Image
	// Kernel is a vmlinux, a bzImage, or for arm64 an Image, without modules; "" is Debian's cloud
	// kernel.
	Kernel string
	// Modules are loaded in addition to those that the machine needs, with Debian's kernel.
	Modules []string
	// MemoryMiB is 128 if 0, CPUs 1.
	MemoryMiB, CPUs int
	// Overlay is an existing overlay image, which is kept. If it is "", an image of OverlayMiB (512
	// if 0) is made for this run.
	Overlay    string
	OverlayMiB int
	// Tmpfs keeps what the guest writes in its memory, without an overlay image.
	Tmpfs bool
	// Drives are further disks, behind the root image and the overlay.
	Drives []vmm.Drive
	// Volumes are mounted beside the root, at most [MaxVolumes].
	Volumes []Volume
	// DrivesOnly gives the machine no other disks than Drives. vm-init is then in the initramfs,
	// and mounts the root as its arguments say.
	DrivesOnly bool
	// Base are images, the lowest first, that are the root as they are: each a squashfs or an
	// erofs. vm-init is then in the initramfs.
	Base []string
	// Config is a text for vm-init, on a drive behind all others.
	Config string
	// Dir is where the machine's directory is made; the directory for temporary files if "".
	Dir string
	// Puts are files and directories to copy into the guest before Use is called. PutTree copies a
	// directory. If it is nil, directories are refused.
	Puts    []Put
	PutTree func(context.Context, *client.Client, Put) error
	// Keep keeps the machine's directory with the overlay image and the console's log.
	Keep bool
	// Net is the machine's network interface, or nil.
	Net *vmm.Net
	// NetNS is the path of the network namespace with the tap device; ours if "".
	NetNS string
	// Started, if not nil, is called when the monitor runs. The machine is that of this run.
	Started func(*Machine)
	// ConsoleLog, if not nil, gets all output of the machine's serial port, which says no more for
	// that.
	ConsoleLog io.Writer
	// Console, if not nil, gets all output of the machine's serial port, which is then verbose.
	Console io.Writer
	// VMM forces a backend.
	VMM string
	// Cmdline is added to the kernel command line, InitArgs to vm-init's arguments.
	Cmdline, InitArgs []string
	// BootLimit is how long the machine may take until it reports ready; 60 s if 0.
	BootLimit time.Duration
	// Cache is [cache.Default] if "".
	Cache cache.Dir
	// Logger, if not nil, gets the errors of the vsock device.
	Logger *slog.Logger
}

const (
	defaultBootLimit = 60 * time.Second
	// DownLimit is how long the guest may take to go down. It gives its workload 10 s, and then its
	// programs 5 s.
	DownLimit = 22 * time.Second
)

// Put is a file or a directory to copy into the guest.
type Put struct{ Local, Guest string }

// ParsePut parses LOCAL:GUEST. A local name cannot contain a colon.
func ParsePut(s string) (Put, error) {
	local, guest, ok := strings.Cut(s, ":")
	if !ok || local == "" || !strings.HasPrefix(guest, "/") {
		return Put{}, fmt.Errorf("put %q: want LOCAL:GUEST with an absolute path GUEST", s)
	}
	if strings.HasSuffix(guest, "/") {
		guest += filepath.Base(local)
	}
	return Put{local, guest}, nil
}

// findInit looks for vm-init next to the tool's own binary, then in the PATH. One for another
// architecture is looked for where scripts/build puts it.
func findInit(arch string) (string, error) {
	foreign := arch != runtime.GOARCH
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			dir := filepath.Dir(self)
			if foreign {
				dir = filepath.Join(dir, "..", arch)
			}
			path := filepath.Join(dir, "vm-init")
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	if foreign {
		return "", fmt.Errorf("find vm-init: no program for %s in ../%[1]s beside this one; build one "+
			"(GOARCH=%[1]s CGO_ENABLED=0 go build ./cmd/vm-init) and give it with --init", arch)
	}
	path, err := exec.LookPath("vm-init")
	if err != nil {
		return "", errors.New("find vm-init: not found beside this program or in the PATH; build it (CGO_ENABLED=0 go build ./cmd/vm-init)")
	}
	return path, nil
}

// complete sets the default of each missing option. It returns an error for an invalid one.
func (o *Options) complete() (err error) {
	if o.Arch == "" {
		o.Arch = runtime.GOARCH
	}
	if o.BootLimit == 0 {
		o.BootLimit = defaultBootLimit
	}
	if o.OverlayMiB == 0 {
		o.OverlayMiB = image.DefaultOverlay
	}
	if o.Init == "" && o.From == "" {
		if o.Init, err = findInit(o.Arch); err != nil {
			return err
		}
	}
	for _, p := range o.Puts {
		// Check this now, and not when the machine is up.
		info, err := os.Stat(p.Local)
		if err == nil && !info.Mode().IsRegular() && (!info.IsDir() || o.PutTree == nil) {
			err = fmt.Errorf("%s: neither a regular file nor a directory", p.Local)
		}
		if err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	if err := o.checkVolumes(); err != nil {
		return err
	}
	if o.Overlay != "" && !o.Tmpfs {
		if _, err := os.Stat(o.Overlay); err != nil {
			return fmt.Errorf("find the overlay disk: %w; make one with truncate -s 512M FILE && mkfs.ext4 FILE", err)
		}
	}
	if o.Cache == "" {
		o.Cache, err = cache.Default()
	}
	return err
}

// Stage says how far a run has come.
type Stage int

// The stages, in their order. A run may fail at any stage, but a booted machine is always powered
// off.
const (
	Building    Stage = iota // Detail is what is made
	Booting                  // Detail is what it runs on
	Ready                    // Took is the time since Booting
	PoweringOff              //
	Killed                   // Detail is why it did not go down in order
	Kept                     // Detail is the directory that is left
	Noted                    // Detail is what the root image lacks of its source
	Notice                   // Detail is a text that a user should know; it may come at any time
)

// Event is one step of a run.
type Event struct {
	Stage  Stage
	Detail string
	Took   time.Duration
}

// UI gets the events of a run. It is called from the goroutine of Run, and for a Notice from any.
type UI interface{ Event(Event) }
