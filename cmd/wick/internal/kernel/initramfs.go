package kernel

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/image"
)

// script is the initramfs's init.
//
//go:embed init.sh
var script string

// Initramfs describes the content of an initramfs.
type Initramfs struct {
	// Extra are modules besides those that every machine needs.
	Extra []string
	// Init is the path of vm-init in the root image, which becomes the root. With Stay set it is in
	// the initramfs itself (Files has it), which then stays the root.
	Init string
	Stay bool
	// Files are further files by their names in the initramfs. Their modes are 0755.
	Files map[string][]byte
}

// Initramfs makes the initramfs that loads the kernel's modules and starts vm-init, or finds it in
// the cache. It is not compressed, because a guest would have to unpack it. The kernel frees its
// memory anyway.
func (k *Kernel) Initramfs(ctx context.Context, dir cache.Dir, what Initramfs) (string, error) {
	path, err := k.initramfs(ctx, dir, what)
	if err != nil {
		return "", fmt.Errorf("make the initramfs: %w", err)
	}
	return path, nil
}

func (k *Kernel) initramfs(ctx context.Context, dir cache.Dir, what Initramfs) (string, error) {
	busybox, err := image.Busybox(ctx, dir, k.Arch)
	if err != nil {
		return "", err
	}
	var modules []string
	if k.Modules != "" {
		names := append(append([]string(nil), needed...), what.Extra...)
		if modules, err = order(k.Modules, names...); err != nil {
			return "", err
		}
	}
	var b bytes.Buffer
	if err := what.write(&b, busybox, modules); err != nil {
		return "", err
	}
	key := cache.NewKey("initramfs", 1)
	key.Add(b.String())
	return dir.Get(ctx, key.Name("initramfs", ".cpio"), func(_ context.Context, tmp string) error {
		return os.WriteFile(tmp, b.Bytes(), 0o600)
	})
}

func (what *Initramfs) write(b *bytes.Buffer, busybox string, modules []string) error {
	c := &cpio{w: b}
	made := map[string]bool{}
	dirs := func(name string) {
		for i := range len(name) {
			if name[i] == '/' && !made[name[:i]] {
				made[name[:i]] = true
				c.dir(name[:i])
			}
		}
	}
	put := func(name string, mode int, content []byte) {
		dirs(name)
		c.file(name, mode, content)
	}
	dirs("dev/")
	dirs("root/")
	c.char("dev/console", 0o600, 5, 1)
	c.char("dev/null", 0o666, 1, 3)
	names := make([]string, len(modules))
	for i, path := range append([]string{busybox}, modules...) {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i == 0 {
			put("busybox", 0o755, content)
			continue
		}
		names[i-1] = filepath.Base(path)
		put("modules/"+names[i-1], 0o644, content)
	}
	for _, name := range slices.Sorted(maps.Keys(what.Files)) {
		put(strings.TrimPrefix(name, "/"), 0o755, what.Files[name])
	}
	settings := "modules='" + strings.Join(names, " ") + "'\ninit='" + what.Init + "'\n"
	if what.Stay {
		settings += "stay=1\n"
	}
	c.file("init", 0o755, []byte(strings.Replace(script, "# settings\n", settings, 1)))
	return c.close()
}
