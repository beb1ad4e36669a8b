//go:build linux

package sysinit

import "time"

// Tmpfs as Config.Overlay keeps what the guest writes in memory. It is lost at shutdown.
const Tmpfs = "tmpfs"

// Config describes what the machine is built from. Up uses every field as it stands, so start from
// Default.
type Config struct {
	// Base lists the block devices of the root image, separated by commas: up to maxLayers
	// layers, each a squashfs or an erofs, the lowest first. They are never written to. With
	// WritableRoot it is one ext4.
	Base string
	// WritableRoot makes the base the root itself, read-write and without an overlay. Overlay
	// is not used then.
	WritableRoot bool
	// Overlay is the block device (an ext4) that takes what the guest writes, or Tmpfs. It is
	// never formatted.
	Overlay string
	// Drive is the block device that the caller reads options from, with ReadDrive. Empty for
	// none.
	Drive string
	// Volumes lists the file systems that Mount mounts. They are set by "--mount".
	Volumes []*Volume
	// Swaps lists what Mount swaps to. They are set by "--swap".
	Swaps []*Swap
	// Modules lists the kernel modules that Mount loads. They are set by "--modules".
	Modules []string
	// Sysctls lists names and values of the kernel's settings, which Mount sets. They are set
	// by "--sysctl".
	Sysctls [][2]string
	// Timezone is the machine's time zone, such as Europe/Berlin. If it is empty, the image's
	// stays.
	Timezone string
	// Grow resizes the ext4 of the overlay disk, or of the root, to its device.
	Grow bool
	// Hostname is the machine's name. If it is empty, the image's (/etc/hostname) is used, or
	// else localhost.
	Hostname string
	// Wait limits how long each of the two devices may take to appear, and those of all volumes
	// together. With zero they must be there.
	Wait time.Duration
	// TmpfsSize, RunSize and ShmSize limit an overlay in memory, /run and /dev/shm. A size is
	// a number of bytes with an optional k, m or g, or a share of the machine's memory such
	// as "10%". A tmpfs without a limit takes half of the memory, and two full ones all of
	// it.
	TmpfsSize, RunSize, ShmSize string
}

// maxLayers is the most devices of a base.
const maxLayers = 16

// Default describes the machine that Firecracker boots for us: the image as the first drive, the
// overlay as the second.
func Default() Config {
	return Config{
		Base:      "/dev/vda",
		Overlay:   "/dev/vdb",
		Wait:      5 * time.Second,
		TmpfsSize: "50%",
		RunSize:   "10%",
		ShmSize:   "25%",
	}
}
