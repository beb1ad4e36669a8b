package kernel

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
)

// Kernel is a kernel to boot.
type Kernel struct {
	// Arch is its architecture by Go's name.
	Arch string
	// Image is an ELF (vmlinux), a bzImage that could not be unpacked, or the Image of an arm64.
	Image string
	// Modules is the directory of its modules, or "" if it needs none to reach vm-init.
	Modules string
}

// packages are the packages of the cloud kernels, for the machines that package vmm knows.
var packages = map[string]string{
	"amd64": "linux-image-cloud-amd64",
	"arm64": "linux-image-cloud-arm64",
}

// UnsupportedError reports a kernel that cannot be used.
type UnsupportedError struct{ Kernel, Reason string }

func (e *UnsupportedError) Error() string { return "use the kernel " + e.Kernel + ": " + e.Reason }

// Given returns a kernel of the user, which must be one for the architecture.
func Given(ctx context.Context, dir cache.Dir, arch, path string) (*Kernel, error) {
	image, err := unpacked(ctx, dir, arch, path)
	if err != nil {
		return nil, err
	}
	return &Kernel{Arch: arch, Image: image}, nil
}

// Debian returns the kernel of Debian's cloud package, which it fetches at first use.
func Debian(ctx context.Context, dir cache.Dir, arch string) (*Kernel, error) {
	name, ok := packages[arch]
	if !ok {
		return nil, &UnsupportedError{"of Debian",
			"no kernel is known for " + arch + "; give one with --kernel"}
	}
	k, err := packaged(ctx, dir, arch, name)
	if missing, ok := errors.AsType[*debian.UnavailableError](err); ok {
		return nil, fmt.Errorf("%w; or give a kernel with --kernel FILE (vmlinux, bzImage or Image with virtio, squashfs, overlay, ext4 and vsock built in)", missing)
	}
	return k, err
}

// General returns the kernel of Debian's package for all machines, which it fetches at first use.
// It is several times as large, and has drivers that no cloud has, such as 9p.
func General(ctx context.Context, dir cache.Dir, arch string) (*Kernel, error) {
	return packaged(ctx, dir, arch, "linux-image-"+arch)
}

// packaged returns the kernel of a Debian package.
func packaged(ctx context.Context, dir cache.Dir, arch, name string) (*Kernel, error) {
	files, err := debian.Unpacked(ctx, dir, arch, name)
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(files + "/boot/vmlinuz-*")
	if err != nil || len(images) != 1 {
		return nil, &UnsupportedError{files,
			fmt.Sprintf("%d images in /boot, not one (remove the directory to fetch it again)",
				len(images))}
	}
	modules := make([]string, 0, 1)
	for _, lib := range []string{"/lib", "/usr/lib"} {
		found, _ := filepath.Glob(files + lib + "/modules/*")
		modules = append(modules, found...)
	}
	if len(modules) != 1 {
		return nil, &UnsupportedError{files,
			fmt.Sprintf("%d module directories, not one (remove the directory to fetch it again)",
				len(modules))}
	}
	image, err := unpacked(ctx, dir, arch, images[0])
	if err != nil {
		return nil, err
	}
	return &Kernel{Arch: arch, Image: image, Modules: modules[0]}, nil
}

// headSize is how many bytes of a kernel identify it: up to the end of a bzImage's header.
const headSize = 0x260

// machines maps an ELF's machine number to the architecture.
var machines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}

// classify returns a kernel's architecture, or "" if it is no kernel, and whether it is a bzImage.
// The layouts are those of ELF and of the kernel's Documentation/arch/x86/boot.rst and
// arch/arm64/booting.rst.
func classify(head []byte) (arch string, bzImage bool) {
	switch {
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)) && len(head) >= 20:
		return machines[elf.Machine(binary.LittleEndian.Uint16(head[18:]))], false
	case len(head) >= headSize && string(head[0x202:0x206]) == "HdrS":
		return "amd64", true
	case len(head) >= 0x3c && string(head[0x38:0x3c]) == "ARM\x64":
		return "arm64", false
	}
	return "", false
}

// unpacked returns the vmlinux inside a bzImage. With an unknown compression it returns
// path, because QEMU boots a bzImage too. Other kernels are not packed.
func unpacked(ctx context.Context, dir cache.Dir, arch, path string) (string, error) {
	head, err := readHead(path, headSize)
	if err != nil {
		return "", err
	}
	switch of, bzImage := classify(head); {
	case of == "":
		return "", &UnsupportedError{path,
			"neither a vmlinux (ELF), nor a bzImage, nor an arm64's Image"}
	case of != arch:
		return "", &UnsupportedError{path,
			"it is one for " + of + ", and the machine is an " + arch}
	case !bzImage:
		return path, nil
	}
	key := cache.NewKey("vmlinux", 1)
	if err := key.Identity(path); err != nil {
		return "", err
	}
	image, err := dir.Get(ctx, key.Name("vmlinux", ""),
		func(_ context.Context, tmp string) error { return unpack(path, tmp) })
	if errors.Is(err, errPacking) {
		return path, nil
	}
	return image, err
}

func readHead(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	defer f.Close()
	head := make([]byte, n)
	got, err := f.ReadAt(head, 0)
	if got == 0 && err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	return head[:got], nil
}
