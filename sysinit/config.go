//go:build linux

package sysinit

import "time"

// Tmpfs as Config.Overlay keeps what the guest writes in memory: it is lost when the machine goes down.
const Tmpfs = "tmpfs"

// Config says what the machine is built from. Up takes every field as it stands; start from Default.
type Config struct {
	// Base is the block device of the root image, a squashfs. It is never written to.
	Base string
	// Overlay is the block device (an ext4) that takes what the guest writes, or Tmpfs. It is never formatted.
	Overlay string
	// Hostname is the machine's name. If it is empty, that of the image (/etc/hostname) is taken,
	// or else localhost.
	Hostname string
	// Wait is how long each of the two devices may take to appear. Zero looks once.
	Wait time.Duration
	// TmpfsSize, RunSize and ShmSize are the limits of an overlay in memory, of /run and of /dev/shm: a number of bytes
	// with an optional k, m or g, or a share of the machine's memory such as "10%". Each tmpfs would otherwise
	// take half of it, and two full ones all of it.
	TmpfsSize, RunSize, ShmSize string
}

// Default is the machine that Firecracker boots for us: the image as the first drive, the overlay as the second.
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
