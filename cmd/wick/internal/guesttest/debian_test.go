package guesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/debian"
	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
)

// debianRoot makes an ext4 of a small Debian: its shell, its core tools and what they are linked
// with.
func debianRoot(t *testing.T, l *fixture) string {
	t.Helper()
	ctx, dir := deadline(t, bootLimit), t.TempDir()
	for _, place := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("usr/"+place, filepath.Join(dir, place)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"base-files", "base-passwd", "dash", "coreutils", "libc6", "libgcc-s1", "libselinux1", "libpcre2-8-0", "libacl1", "libattr1", "libgmp10",
	} {
		from, err := debian.Unpacked(ctx, l.Store, l.Kernel.Arch, name)
		machinetest.Need(t, err)
		// It follows the links of the root.
		if out, err := exec.Command("sh", "-c", `cd "$1" && tar -cf - . | tar -xf - -C "$2" --keep-directory-symlink`, "sh", from, dir).CombinedOutput(); err != nil {
			t.Fatalf("unpack %s: %v\n%s", name, err, out)
		}
	}
	// The packages' scripts would do this.
	const configure = `cd "$1" && ln -sf dash usr/bin/sh && for f in passwd group; do cp usr/share/base-passwd/$f.master etc/$f; done`
	if out, err := exec.Command("sh", "-c", configure, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := image.Build(ctx, l.Store, l.Kernel.Arch, dir, file(t, l.init))
	machinetest.Need(t, err)
	return root.Path
}

// TestDebian boots a Debian. Its workload and a service are programs that are linked dynamically.
// The machine powers off while their commands are frozen.
func TestDebian(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := working(t, l,
		`workload = sh:. /etc/os-release; echo "$ID $(stat -c %U /etc/passwd) $(id -un)"; exec sleep 1000`,
		"workload-user=daemon", "workload-after=clock", "workload-stop=TERM:60",
		"service.clock.command=/usr/bin/env -i sleep 1000", "service.clock.restart=always", "service.clock.stop=TERM:60",
	)
	c.Drives[0] = vmm.Drive{Path: debianRoot(t, l), ReadOnly: true}
	v, conn := boot(t, l, c)
	awaitService(t, conn, "clock", "ready")
	awaitService(t, conn, "workload", "ready")
	until(t, conn, "case $(cat /proc/[0-9]*/comm) in *sleep*sleep*) ;; *) false ;; esac")
	cmd, out := attach(t, conn)
	if err := conn.FreezeCommands(deadline(t, stepLimit), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := conn.PowerOff(deadline(t, downLimit), 0); err != nil {
		t.Error(err)
	}
	wait(t, cmd)
	if got := out.String(); got != "debian root daemon\n" {
		t.Errorf("the workload says %q", got)
	}
	v.goneBy("guest-shutdown")
	for _, line := range []string{"warn workload ended code=143 signal=SIGTERM", "warn service clock ended code=143 signal=SIGTERM"} {
		v.console.await(t, line, 1)
	}
	if all, _ := v.console.look(); strings.Contains(all, "survived") {
		t.Error("a service survived its signal")
	}
}
