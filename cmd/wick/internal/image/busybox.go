package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/debian"
)

// Busybox returns the path of a statically linked busybox for an architecture. It is the host's, or
// the one of Debian's busybox-static.
func Busybox(ctx context.Context, dir cache.Dir, arch string) (string, error) {
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"} {
		if arch == runtime.GOARCH && static(path) {
			return path, nil
		}
	}
	unpacked, err := debian.Unpacked(ctx, dir, arch, "busybox-static")
	if err != nil {
		return "", fmt.Errorf("find a static busybox: %w", err)
	}
	for _, path := range []string{unpacked + "/bin/busybox", unpacked + "/usr/bin/busybox"} {
		if static(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("find a static busybox: %s does not contain one", unpacked)
}

// static reports whether path is a program that needs no other file.
func static(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// applets returns the paths of a busybox's applets. The host's busybox prints them, because one of
// another architecture may not run. Debian builds all of them with the same applets.
func applets(ctx context.Context, dir cache.Dir) ([]byte, error) {
	busybox, err := Busybox(ctx, dir, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	list, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", busybox, err)
	}
	return list, nil
}

// defaultSystem writes the system for a machine without --rootfs: busybox, its applets, and the few
// files that programs read.
func defaultSystem(s *stream, busybox string, list []byte) error {
	dirs := []struct {
		name string
		mode int64
	}{
		{"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"lib", 0o755}, {"mnt", 0o755},
		{"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"sbin", 0o755}, {"sys", 0o555}, {"tmp", 0o1777},
		{"usr", 0o755}, {"usr/bin", 0o755}, {"usr/sbin", 0o755},
		{"var", 0o755}, {"var/log", 0o755}, {"var/tmp", 0o1777},
	}
	for _, d := range dirs {
		if err := s.dir(d.name, d.mode); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	files := []struct {
		name, content string
		mode          int64
	}{
		{"bin/busybox", string(program), 0o755},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n", 0o644},
		{"etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n", 0o644},
		{"etc/shadow", "root:*:19000::::::\nnobody:*:19000::::::\n", 0o600},
		// There is no etc/hosts, because vm-init makes it with the machine's name.
		{"etc/hostname", "wick\n", 0o644},
		{"etc/os-release", "ID=wick\nNAME=wick\nPRETTY_NAME=\"wick's default root image (busybox)\"\n", 0o644},
	}
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))}
		if err := s.add(h, strings.NewReader(f.content)); err != nil {
			return err
		}
	}
	for line := range bytes.Lines(list) {
		name := strings.TrimSpace(string(line))
		if name == "" || s.seen[name] {
			continue
		}
		// A busybox may have applets in directories that the table above lacks.
		for _, up := range parents(name)[:strings.Count(name, "/")] {
			if err := s.dir(up, 0o755); err != nil {
				return err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "/bin/busybox", Mode: 0o777}
		if err := s.add(h, nil); err != nil {
			return err
		}
	}
	return nil
}
