package debian

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

// tools makes scripts the only programs in the PATH, except those of the shell.
func tools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("WICK_DEBIAN_MIRROR", "http://127.0.0.1:1") // nothing listens there
}

// working returns tools that have the package wanted, on which name depends.
func working(name, wanted string) map[string]string {
	return map[string]string{
		"apt-cache": `[ "$3" = ` + name + ` ] && printf '%s\n' ` + name + ` "  PreDepends: x" "  Depends: ` + wanted + `"`,
		"apt-get":   `[ "$1" != download ] || echo "$2" >"$2"_1_amd64.deb`,
		"dpkg-deb":  `read -r wanted <"$2" && echo "$wanted" >"$3/unpacked"`,
	}
}

func TestUnpacked(t *testing.T) {
	for _, tt := range []struct{ name, depends, want string }{
		{"linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"},
		{"linux-image-amd64", "linux-image-6.1.0-9-amd64", "linux-image-6.1.0-9-amd64"},
		{"busybox-static", "libc6", "busybox-static"},
	} {
		tools(t, working(tt.name, tt.depends))
		dir := cache.Dir(t.TempDir())
		path, err := Unpacked(t.Context(), dir, runtime.GOARCH, tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if b, err := os.ReadFile(path + "/unpacked"); err != nil || strings.TrimSpace(string(b)) != tt.want {
			t.Errorf("%s: unpacked %q, %v; want %s", tt.name, b, err, tt.want)
		}
		// The second time no tool is called.
		tools(t, nil)
		if again, err := Unpacked(t.Context(), dir, runtime.GOARCH, tt.name); err != nil || again != path {
			t.Errorf("%s: the second time it is %s, %v", tt.name, again, err)
		}
	}
}

func TestUnavailable(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"this host has no apt-get": func(m map[string]string) { delete(m, "apt-get") },
		"apt does not know it":     func(m map[string]string) { m["apt-cache"] = "echo 'E: No packages found' >&2; exit 100" },
		"apt-get download failed":  func(m map[string]string) { m["apt-get"] = "echo 'E: no network' >&2; exit 100" },
		"left 0 packages":          func(m map[string]string) { m["apt-get"] = "exit 0" },
	} {
		scripts := working("busybox-static", "libc6")
		change(scripts)
		tools(t, scripts)
		dir := cache.Dir(t.TempDir())
		_, err := Unpacked(t.Context(), dir, runtime.GOARCH, "busybox-static")
		if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		if left, err := os.ReadDir(string(dir)); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// TestForeign looks up a package of another architecture in lists that were fetched for it. It has
// its own entry in the cache.
func TestForeign(t *testing.T) {
	scripts := working("busybox-static", "libc6")
	const own = `case "$*" in *"APT::Architecture=riscv64 "*"Dir::State=$PWD/apt/state "*) ;; *) exit 1 ;; esac; `
	scripts["apt-cache"] = own + `[ -e apt/state/updated ] && ` + scripts["apt-cache"]
	scripts["apt-get"] = own + `[ "$1" != update ] || echo >apt/state/updated; ` + scripts["apt-get"]
	tools(t, scripts)
	dir := cache.Dir(t.TempDir())
	path, err := Unpacked(t.Context(), dir, "riscv64", "busybox-static")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 1 || left[0].Name() != "unpacked" {
		t.Errorf("%v, %v is left, want what was unpacked alone", left, err)
	}
	if _, err := Unpacked(t.Context(), dir, runtime.GOARCH, "busybox-static"); err == nil {
		t.Error("the host's own package is that of another architecture")
	}
	scripts["apt-get"] = "echo 'E: no network' >&2; exit 100"
	tools(t, scripts)
	_, err = Unpacked(t.Context(), cache.Dir(t.TempDir()), "riscv64", "busybox-static")
	if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.Contains(err.Error(), "apt-get update for riscv64 failed") {
		t.Errorf("without a network: error %v", err)
	}
}

// TestGivenUp has a tool whose children hold its output open.
func TestGivenUp(t *testing.T) {
	scripts := working("busybox-static", "libc6")
	pid := filepath.Join(t.TempDir(), "pid")
	scripts["apt-get"] = "/bin/sleep 100 & echo $! >" + pid + ".new; /bin/mv " + pid + ".new " + pid + "; wait"
	tools(t, scripts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	dir := cache.Dir(t.TempDir())
	go func() {
		_, err := Unpacked(ctx, dir, runtime.GOARCH, "busybox-static")
		done <- err
	}()
	defer syscall.Kill(waitForPID(t, pid), syscall.SIGKILL)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits on")
	}
	if left, err := os.ReadDir(string(dir)); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestToolsEndWithUs checks that the tools end with us, however we end.
func TestToolsEndWithUs(t *testing.T) {
	if dir := os.Getenv("UNPACK_TO"); dir != "" {
		Unpacked(t.Context(), cache.Dir(dir), runtime.GOARCH, "busybox-static")
		t.Fatal("the tool has ended")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	scripts := working("busybox-static", "libc6")
	pid := filepath.Join(t.TempDir(), "pid")
	scripts["apt-cache"] = "echo $$ >" + pid + ".new; /bin/mv " + pid + ".new " + pid + "; exec /bin/sleep 100"
	tools(t, scripts)
	cmd := exec.Command(self, "-test.run=^TestToolsEndWithUs$")
	cmd.Env = append(os.Environ(), "UNPACK_TO="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tool := waitForPID(t, pid)
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(tool) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			syscall.Kill(tool, syscall.SIGKILL)
			t.Fatal("the tool runs on")
		}
	}
}

// waitForPID waits until a script writes its pid.
func waitForPID(t *testing.T, path string) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatal("the tool was not run")
		}
	}
}
