package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
)

// Kernel is a kernel to boot.
type Kernel struct {
	// Image is an ELF (vmlinux) or, if it could not be unpacked, a bzImage.
	Image string
	// Modules is the directory of its modules, or "" if it needs none to reach vm-init.
	Modules string
}

// packages are the cloud kernels' packages. The machines we know how to boot are those of amd64.
var packages = map[string]string{"amd64": "linux-image-cloud-amd64"}

// An UnsupportedError is a kernel that cannot be used.
type UnsupportedError struct{ Kernel, Reason string }

func (e *UnsupportedError) Error() string { return "use the kernel " + e.Kernel + ": " + e.Reason }

// Given is a kernel of the user's.
func Given(ctx context.Context, dir cache.Dir, path string) (*Kernel, error) {
	image, err := unpacked(ctx, dir, path)
	if err != nil {
		return nil, err
	}
	return &Kernel{Image: image}, nil
}

// Debian is the kernel of Debian's cloud package, fetched when it is used for the first time.
func Debian(ctx context.Context, dir cache.Dir) (*Kernel, error) {
	name, ok := packages[runtime.GOARCH]
	if !ok {
		return nil, &UnsupportedError{"of Debian", "none is known for " + runtime.GOARCH + "; give one with --kernel"}
	}
	files, err := debian.Unpacked(ctx, dir, name)
	if missing, ok := errors.AsType[*debian.UnavailableError](err); ok {
		return nil, fmt.Errorf("%w; or give a kernel with --kernel FILE (vmlinux or bzImage with virtio, squashfs, overlay, ext4 and vsock built in)", missing)
	}
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(files + "/boot/vmlinuz-*")
	if err != nil || len(images) != 1 {
		return nil, &UnsupportedError{files, fmt.Sprintf("%d images in /boot, not one (remove the directory to fetch it again)", len(images))}
	}
	modules := make([]string, 0, 1)
	for _, lib := range []string{"/lib", "/usr/lib"} {
		found, _ := filepath.Glob(files + lib + "/modules/*")
		modules = append(modules, found...)
	}
	if len(modules) != 1 {
		return nil, &UnsupportedError{files, fmt.Sprintf("%d module directories, not one (remove the directory to fetch it again)", len(modules))}
	}
	image, err := unpacked(ctx, dir, images[0])
	if err != nil {
		return nil, err
	}
	return &Kernel{Image: image, Modules: modules[0]}, nil
}

// unpacked returns the vmlinux inside a bzImage. One that is packed in a way we do not know stays as it is: QEMU boots it too.
func unpacked(ctx context.Context, dir cache.Dir, path string) (string, error) {
	head, err := readHead(path, 0x260)
	if err != nil {
		return "", err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return path, nil
	case len(head) < 0x260 || string(head[0x202:0x206]) != "HdrS":
		return "", &UnsupportedError{path, "neither a vmlinux (ELF) nor a bzImage"}
	}
	key := cache.NewKey("vmlinux", 1)
	if err := key.Identity(path); err != nil {
		return "", err
	}
	image, err := dir.Get(ctx, key.Name("vmlinux", ""), func(_ context.Context, tmp string) error { return unpack(path, tmp) })
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
