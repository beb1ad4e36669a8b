package main

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestRunWithoutReader of the console goes on, and leaves nothing behind. The machine's monitor is a script that never gets anywhere.
func TestRunWithoutReader(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the kernel is made for amd64")
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("it needs mksquashfs: run scripts/setup")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	elf := append([]byte("\x7fELF"), make([]byte, 60)...)
	binary.LittleEndian.PutUint16(elf[18:], 62) // EM_X86_64
	// What is tried with KVM has no drive.
	const monitor = "#!/bin/sh\ncase \"$*\" in *-drive*) ;; *) exit 1 ;; esac\nwhile :; do echo line || exit; sleep 0.01; done\n"
	if err := errors.Join(os.Mkdir(in("bin"), 0o700), os.Mkdir(in("tmp"), 0o700), os.Mkdir(in("root"), 0o700), os.WriteFile(in("init"), elf, 0o755),
		os.WriteFile(in("kernel"), elf, 0o600), os.WriteFile(in("bin/qemu-system-x86_64"), []byte(monitor), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("wick", "run", "--vmm", "qemu", "--kernel", in("kernel"), "--rootfs", in("root"), "--init", in("init"), "--tmpfs", "--console",
		"--boot-timeout", "2s", "--", "true")
	cmd.Env = append(os.Environ(), "PATH="+in("bin")+":"+os.Getenv("PATH"), "TMPDIR="+in("tmp"), "XDG_CACHE_HOME="+in("cache"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	begun := make([]byte, 4)
	if _, err := io.ReadFull(r, begun); err != nil || string(begun) != "line" {
		t.Errorf("it begins with %q, %v", begun, err)
	}
	r.Close()
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitTransport {
		t.Errorf("it ended with %v, want exit code %d", cmd.ProcessState, exitTransport)
	}
	if left, err := os.ReadDir(in("tmp")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
