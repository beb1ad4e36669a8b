package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestHooks has hooks make the network of a container, as nerdctl does. The root file system is a
// directory.
func TestHooks(t *testing.T) {
	d := containerd(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	busybox, _ := exec.LookPath("busybox")
	program, err := os.ReadFile(busybox)
	if err == nil {
		err = os.MkdirAll(root+"/bin", 0o755)
	}
	if err == nil {
		err = os.WriteFile(root+"/bin/busybox", program, 0o755)
	}
	for _, name := range []string{"sh", "ip"} {
		if err == nil {
			err = os.Symlink("busybox", root+"/bin/"+name)
		}
	}
	spec := &specs.Spec{}
	if err == nil {
		err = json.Unmarshal([]byte(d.must(t, "oci", "spec")), spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec.Root = &specs.Root{Path: root}
	spec.Process.Terminal = false
	spec.Process.Args = []string{"sh", "-c", "ip -o -4 addr show eth0"}
	// The state on stdin has the pid, in whose network namespace the hook makes an interface.
	create := fmt.Sprintf(`cat >%[1]s/state; pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' %[1]s/state)
ip link add name eth0 netns $pid type veth peer name wh%[2]d && nsenter -t $pid -n sh -c 'ip addr add 10.213.78.5/24 dev eth0 && ip link set eth0 up'`, dir, os.Getpid())
	spec.Hooks = &specs.Hooks{
		CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", create}, Env: os.Environ()}},
		Poststop:      []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >" + dir + "/stopped"}, Env: os.Environ()}},
	}
	config := filepath.Join(dir, "config.json")
	text, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := d.run(t, 0, "--config", config, "hooks1"); !strings.Contains(out, "10.213.78.5/24") {
		t.Errorf("got %q, want the address that the hook made", out)
	}
	for name, want := range map[string]string{"state": `"status":"creating"`, "stopped": `"status":"stopped"`} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); !strings.Contains(string(b), want) {
			t.Errorf("the hook read %q, %v; want %s in it", b, err, want)
		}
	}
	d.clean(t, "hooks1")
	spec.Hooks = &specs.Hooks{StartContainer: spec.Hooks.Poststop}
	text, _ = json.Marshal(spec)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code := d.ctr(t, "", "run", "--rm", "--runtime", runtimeName, "--config", config, "hooks2")
	if code == 0 || !strings.Contains(errs, "run hooks in the container's namespaces: not supported") {
		t.Errorf("a hook in the container: exit code %d, %q", code, errs)
	}
	d.clean(t, "hooks2")
}

// TestBlockDevice has an image file with an ext4 as the root. It keeps what the container writes.
func TestBlockDevice(t *testing.T) {
	d := containerd(t)
	const id = "block1"
	d.must(t, "run", "-d", "--runtime", runtimeName, "--snapshotter", "blockfile", testImage, id, "sh", "-c",
		"df -T / | grep -c ext4 >/kept")
	await(t, "end", func() bool { return d.status(t, id) == "STOPPED" })
	d.must(t, "task", "rm", id)
	file := strings.Fields(d.must(t, "snapshot", "--snapshotter", "blockfile", "mounts", "/mnt", id))[3]
	if out, err := exec.Command("debugfs", "-R", "cat /kept", file).Output(); string(out) != "1\n" {
		t.Errorf("the image file has %q, %v; want what the container wrote", out, err)
	}
	d.must(t, "container", "rm", id)
	d.clean(t, id)
}
