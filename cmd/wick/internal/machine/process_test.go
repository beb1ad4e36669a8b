package machine

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"wick/cmd/wick/internal/vmm"
)

// TestStartInNamespace starts a process in another network namespace, and the next one in ours.
func TestStartInNamespace(t *testing.T) {
	holder := exec.Command("sleep", "60")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := holder.Start(); err != nil {
		t.Skipf("make a network namespace: %v (as root)", err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	path := "/proc/" + strconv.Itoa(holder.Process.Pid) + "/ns/net"
	for _, netns := range []string{path, ""} {
		var out bytes.Buffer
		cmd := exec.Command("readlink", "/proc/self/ns/net")
		cmd.Stdout = &out
		p, err := start(cmd, netns)
		if err != nil {
			t.Fatal(err)
		}
		<-p.done
		want, err := os.Readlink(path)
		if netns == "" {
			want, err = os.Readlink("/proc/self/ns/net")
		}
		if got := strings.TrimSpace(out.String()); err != nil || got != want {
			t.Errorf("a process started with namespace %q is in %q, want %q, %v", netns, got, want, err)
		}
	}
	if _, err := start(exec.Command("true"), "/nonexistent"); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("start in a missing namespace: %v", err)
	}
}

// TestPlacesOfDrives puts the drives behind the overlay, and the configuration behind them.
func TestPlacesOfDrives(t *testing.T) {
	dir, err := newDirIn(shortTemp(t), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.remove()
	spec := vmm.Spec{Drives: []vmm.Drive{{Path: "/root"}}, InitArgs: []string{"--wait=9"}}
	o := Options{Overlay: "/overlay", Drives: []vmm.Drive{{Path: "/data", Serial: "s"}}, Config: strings.Repeat("x", 512)}
	if err := o.disks(t.Context(), dir, &spec); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range spec.Drives {
		paths = append(paths, strings.TrimPrefix(d.Path, dir.path))
	}
	if got := strings.Join(paths, " "); got != "/root /overlay /data /config" {
		t.Errorf("drives %s", got)
	}
	if got := strings.Join(spec.InitArgs, " "); got != "--config=/dev/vdd --wait=9" {
		t.Errorf("vm-init's arguments are %s", got)
	}
	if text, err := os.ReadFile(spec.Drives[3].Path); err != nil || len(text) != 1024 || string(bytes.TrimRight(text, "\x00")) != o.Config {
		t.Errorf("the configuration drive has %d bytes, %v", len(text), err)
	}
	o = Options{DrivesOnly: true, Drives: make([]vmm.Drive, maxDrives+1)}
	if err := o.disks(t.Context(), dir, &vmm.Spec{}); err == nil {
		t.Error("too many drives: no error")
	}
	if _, err := newDirIn("/"+strings.Repeat("d", longestDir), false); err == nil {
		t.Error("a directory too long for sockets: no error")
	}
}
