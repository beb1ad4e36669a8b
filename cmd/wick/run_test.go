package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"wick/cmd/wick/internal/exit"
)

// monitored returns a wick run whose monitor, QEMU, is a shell script, and the directory for its
// machines.
func monitored(t *testing.T, script string, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
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
	// The trial of KVM has no drive.
	monitor := "#!/bin/sh\ncase \"$*\" in *-drive*) ;; *) exit 1 ;; esac\n" + script + "\n"
	if err := errors.Join(os.Mkdir(in("bin"), 0o700), os.Mkdir(in("tmp"), 0o700), os.Mkdir(in("root"), 0o700),
		os.WriteFile(in("init"), elf, 0o755), os.WriteFile(in("kernel"), elf, 0o600),
		os.WriteFile(in("bin/qemu-system-x86_64"), []byte(monitor), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("wick", append([]string{"run", "--vmm", "qemu", "--kernel", in("kernel"), "--rootfs", in("root"),
		"--init", in("init"), "--tmpfs"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+in("bin")+":"+os.Getenv("PATH"), "TMPDIR="+in("tmp"), "XDG_CACHE_HOME="+in("cache"))
	return cmd, in("tmp")
}

// TestRunWithoutReader closes the reader of the console. The run must continue and leave nothing
// behind. Its monitor is a script that never boots.
func TestRunWithoutReader(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out limits of seconds: run without -short")
	}
	cmd, temp := monitored(t, "while :; do echo line || exit; sleep 0.01; done", "--console", "--boot-timeout", "2s", "--", "true")
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
	console := bufio.NewScanner(r) // which may begin with a note, as where KVM is not for this user
	for console.Scan() && console.Text() != "line" {
	}
	if console.Text() != "line" {
		t.Errorf("the console was never shown: %v", console.Err())
	}
	r.Close()
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != exit.Own {
		t.Errorf("it ended with %v, want exit code %d", cmd.ProcessState, exit.Own)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestRunSaysWhy has monitors that get nowhere, each in a way of its own, and reads what wick says.
func TestRunSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		args         []string
		want         []string
	}{
		{"mute and crowded", "exec sleep 60", []string{"--cpus", "999"}, []string{
			"999 processors are emulated by this host's", "--- the console is empty; --console makes", "did not answer within 1s",
		}},
		{"it said something", "printf 'first\\r\\nlast \\033[2Jwords\\r\\n'; exec sleep 60", nil, []string{
			"--- the console's last lines\nfirst\nlast ?[2Jwords\n---\n", "did not answer within 1s",
		}},
		{"its monitor fails", "echo bad option >&2; exit 3", nil, []string{"failed: exit status 3: bad option"}},
		{"the console is shown", "printf 'some \\033[2Jwords\\r\\n'; exec sleep 60", []string{"--console"}, []string{"some ?[2Jwords\n"}},
		{"as it is", "printf 'some \\033[2Jwords\\r\\n'; exec sleep 60", []string{"--console=raw"}, []string{"some \x1b[2Jwords\r\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd, _ := monitored(t, tt.script, append(tt.args, "--boot-timeout", "1s", "--", "true")...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != exit.Own {
				t.Errorf("exit code %d, want %d", code, exit.Own)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("it says %q, want %q in it", out, want)
				}
			}
		})
	}
}
