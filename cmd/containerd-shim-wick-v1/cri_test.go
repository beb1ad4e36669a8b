package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// builtClients returns where scripts/containerd has built crictl, nerdctl and CNI's plugins.
func builtClients(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("testdata/clients/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(mod)
	dir := filepath.Join(base, "wick-clients-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "nerdctl")); err != nil {
		t.Skip("crictl and nerdctl are not built; run scripts/containerd once")
	}
	return dir
}

// cluster is a containerd with the CRI, in a network namespace of its own.
type cluster struct {
	daemon
	clients  string
	netns    string // the path of its network namespace
	registry string // its address there
}

// newCluster starts one. Its pods get two interfaces from CNI's bridge plugin.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	shared := containerd(t)
	c := &cluster{clients: builtClients(t)}
	name, ip := newNamespace(t, "cri")
	ip(true, "link set lo up")
	var err error
	if c.dir, err = os.MkdirTemp("/tmp", "wick-"); err != nil {
		t.Fatal(err)
	}
	c.bin, c.options = shared.bin, options{namespace: "k8s.io", address: c.dir + "/c.sock"}
	c.netns = "/run/netns/" + name
	c.wrap = []string{"nsenter", "--net=" + c.netns} // which becomes containerd
	t.Cleanup(func() {
		c.stop()
		unmountBelow(c.dir)
		os.RemoveAll(c.dir)
	})
	c.serveImages(t)
	if err := os.MkdirAll(c.dir+"/cni", 0o700); err != nil {
		t.Fatal(err)
	}
	network := func(i int) string {
		return fmt.Sprintf(`{"type": "bridge", "bridge": "br%d", "isGateway": true, "isDefaultGateway": %t, "mtu": %d,
"ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.99.%[1]d.0/24"}], [{"subnet": "fd99:%[1]d::/64"}]]}}`,
			i, i == 0, 1450-i*50, c.dir+"/ipam")
	}
	// max_conf_num lets the CRI add the networks of two files: eth0 and eth1.
	for i := range 2 {
		labels := ""
		if i == 0 { // nerdctl's default
			labels = `"nerdctlID": "` + strings.Repeat("0", 64) + `", "nerdctlLabels": {"nerdctl/default-network": ""}, `
		}
		list := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, %s"plugins": [%s,
{"type": "portmap", "capabilities": {"portMappings": true}}]}`, []string{"bridge", "more"}[i], labels, network(i))
		c.write(t, fmt.Sprintf("cni/%d.conflist", i), list)
	}
	c.write(t, "crictl.yaml", "runtime-endpoint: unix://"+c.options.address+"\ntimeout: 100\n")
	c.write(t, "config.toml", fmt.Sprintf(`version = 3
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[plugins."io.containerd.internal.v1.opt"]
  path = %[5]q
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "%[6]s/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  enable_selinux = false
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%[7]q]
    conf_dir = %[8]q
    max_conf_num = 2
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.wick]
    runtime_type = "io.containerd.wick.v1"
    pod_annotations = ["wick.*"]
`, c.dir+"/root", c.dir+"/state", c.options.address, c.options.address+".ttrpc", c.dir+"/opt", c.registry,
		c.clients, c.dir+"/cni"))
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveImages serves a registry in the network namespace, with the images box:1, pause:1 and web:1.
func (c *cluster) serveImages(t *testing.T) {
	t.Helper()
	var l net.Listener
	err := inNamespace(c.netns, func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c.registry = l.Addr().String()
	put := func(url, contentType string, content []byte) {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(content))
		r.Header.Set("Content-Type", contentType)
		w := &recorder{header: http.Header{}}
		server.Handler.ServeHTTP(w, r)
		if w.code/100 != 2 {
			t.Fatalf("push to %s: status %d", url, w.code)
		}
	}
	for name, command := range map[string][]string{
		"box": {"sh"}, "pause": {"sleep", "1000000"},
		"web": {"sh", "-c", "echo served >/index.html; exec httpd -f -p 80 -h /"},
	} {
		manifest, blobs, err := box(command)
		if err != nil {
			t.Fatal(err)
		}
		for _, blob := range blobs {
			put("/v2/"+name+"/blobs/uploads/1?digest="+digest(blob), "application/octet-stream", blob)
		}
		put("/v2/"+name+"/manifests/1", kind+"manifest.v1+json", manifest)
	}
}

// inside returns a command in the network namespace. There exec, attach and port-forward find
// containerd's TCP port.
func (c *cluster) inside(ctx context.Context, words ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + c.netns}, words...)...)
}

// crictlWords returns the command line of crictl.
func (c *cluster) crictlWords(args ...string) []string {
	return append([]string{c.clients + "/crictl", "-c", c.dir + "/crictl.yaml"}, args...)
}

// crictl runs crictl, and returns its output and exit code.
func (c *cluster) crictl(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ctrLimit)
	defer cancel()
	cmd := c.inside(ctx, c.crictlWords(args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("crictl %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// cri runs crictl and wants success.
func (c *cluster) cri(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := c.crictl(t, args...)
	if code != 0 {
		t.Fatalf("crictl %q: exit code %d, want 0\n%s\n%s", args, code, errs, c.lastLog())
	}
	return strings.TrimSpace(out)
}

func (c *cluster) config(t *testing.T, name string, value map[string]any) string {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, name, string(b))
}

// TestCRI leads a pod of two containers through its life by crictl.
func TestCRI(t *testing.T) {
	c := newCluster(t)
	image := c.registry + "/box:1"
	c.cri(t, "pull", image)
	pod := c.config(t, "pod.json", map[string]any{
		"metadata": map[string]any{"name": "pod", "namespace": "default", "uid": "1"},
		"hostname": "podhost", "log_directory": c.dir + "/logs",
		"annotations": map[string]string{"wick.memory": "300"},
		"dns_config":  map[string]any{"servers": []string{"10.9.8.7"}, "searches": []string{"cluster.local"}},
		"linux":       map[string]any{"cgroup_parent": "/wick-test"},
	})
	sandbox := c.cri(t, "runp", "--runtime", "wick", pod)
	create := func(name, command string, linux map[string]any) string {
		t.Helper()
		config := c.config(t, name+".json", map[string]any{
			"metadata": map[string]any{"name": name}, "image": map[string]any{"image": image},
			"command": []string{"sh", "-c", command}, "log_path": name + ".log", "linux": linux,
		})
		id := c.cri(t, "create", "--no-pull", sandbox, config, pod)
		c.cri(t, "start", id)
		return id
	}
	a := create("a", "echo log of a; echo error >&2; touch /dev/shm/shared /own; exec sleep 1000000", map[string]any{
		"resources": map[string]any{"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512, "cpu_quota": 50000, "cpu_period": 100000},
	})
	b := create("b", "echo served >/index.html; exec httpd -f -p 127.0.0.1:8080 -h /", map[string]any{})
	for _, id := range []string{a, b} {
		if state := c.cri(t, "inspect", "-o", "go-template", "--template", "{{.status.state}}", id); state != "CONTAINER_RUNNING" {
			t.Errorf("container %s is %s", id, state)
		}
	}
	// The containers share the machine, its network and /dev/shm. Each has its own files and
	// processes.
	look := `cat /proc/sys/kernel/random/boot_id; hostname; ls /dev/shm /own; cat /etc/resolv.conf
		ip -o addr | tr -s ' '; cat /sys/class/net/eth?/mtu; ip route; ip -6 route; echo $(ls -d /proc/[0-9]* | wc -l)`
	first, second := c.cri(t, "exec", "-s", a, "sh", "-c", look), c.cri(t, "exec", "-s", b, "sh", "-c", look+"; :")
	id, _, _ := strings.Cut(first, "\n")
	if !strings.HasPrefix(second, id) {
		t.Errorf("the boots of two containers are %q and %q", first, second)
	}
	for _, want := range []string{
		"\npodhost\n", "/own\n\n/dev/shm:\nshared\n", "search cluster.local\nnameserver 10.9.8.7\n",
		"eth0 inet 10.99.0.", "eth0 inet6 fd99::", "eth1 inet 10.99.1.", "eth1 inet6 fd99:1::", "1450\n1400\n",
		"default via 10.99.0.1 dev eth0", "default via fd99::1 dev eth0",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the first container has %s\nwant %q in it", first, want)
		}
	}
	if !strings.Contains(second, "shared") || strings.Contains(second, "own\n\n") {
		t.Errorf("the second container has %q, want the shared file alone", second)
	}
	c.useCRI(t, sandbox, a)
	c.forwardPort(t, sandbox)
	if out, errs, code := c.crictl(t, "stop", "-t", "0", a); code != 0 {
		t.Errorf("stop: exit code %d, %s %s", code, out, errs)
	}
	if code := c.cri(t, "inspect", "-o", "go-template", "--template", "{{.status.exitCode}}", a); code != "137" {
		t.Errorf("exit code %s of a killed container, want 137", code)
	}
	c.cri(t, "rm", a)
	c.cri(t, "stopp", sandbox)
	c.cri(t, "rmp", sandbox)
	c.clean(t, sandbox)
}

// useCRI uses a container of a pod: exec, terminals, logs and figures.
func (c *cluster) useCRI(t *testing.T, sandbox, id string) {
	t.Helper()
	if _, errs, code := c.crictl(t, "exec", "-s", id, "sh", "-c", "echo out; exit 5"); code != 1 || !strings.Contains(errs, "exited with 5") {
		t.Errorf("exec -s: exit code %d, %q", code, errs)
	}
	if out := c.cri(t, "exec", id, "sh", "-c", "echo out"); out != "out" {
		t.Errorf("exec: %q", out)
	}
	// script gives crictl a terminal of its own.
	line := strings.Join(c.crictlWords("exec", "-it", id, "sh", "-c", "'test -t 0 && stty size && read a && echo got $a'"), " ")
	cmd := c.inside(t.Context(), "script", "-qec", "stty rows 33 cols 99; "+line, "/dev/null")
	cmd.Stdin = strings.NewReader("typed\n")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "got typed") {
		t.Errorf("exec -it: %q, %v", out, err)
	}
	if out, errs, code := c.crictl(t, "logs", id); out != "log of a\n" || errs != "error\n" || code != 0 {
		t.Errorf("logs: %q, %q, exit code %d", out, errs, code)
	}
	var stats struct {
		Stats []struct {
			CPU struct {
				UsageCoreNanoSeconds struct{ Value string }
			}
			Memory struct {
				WorkingSetBytes struct{ Value string }
			}
		}
	}
	if out := c.cri(t, "stats", "-o", "json", "--id", id); json.Unmarshal([]byte(out), &stats) != nil ||
		len(stats.Stats) != 1 || len(stats.Stats[0].CPU.UsageCoreNanoSeconds.Value) < 4 || len(stats.Stats[0].Memory.WorkingSetBytes.Value) < 4 {
		t.Errorf("stats: %s", out)
	}
	limits := func(want string) {
		t.Helper()
		const show = "cd /sys/fs/cgroup; cat memory.max cpu.weight cpu.max"
		if out := c.cri(t, "exec", "-s", id, "sh", "-c", show); out != want {
			t.Errorf("the limits are %q, want %q", out, want)
		}
	}
	limits("67108864\n20\n50000 100000")
	c.cri(t, "update", "--memory", "50331648", "--cpu-share", "1024", "--cpu-quota", "80000", "--cpu-period", "100000", id)
	limits("50331648\n39\n80000 100000")
	for _, refused := range [][3]string{
		{"--memory", "2147483648", "update memory.limit to 2147483648 bytes: the machine has 300 MiB"},
		{"--cpu-quota", "300000", "the machine has 1 processors"},
		{"--cpuset-cpus", "0", "update cpu.cpus: not supported"},
	} {
		_, errs, code := c.crictl(t, "update", refused[0], refused[1], "--cpu-period", "100000", id)
		if code == 0 || !strings.Contains(errs, refused[2]) {
			t.Errorf("update %s: exit code %d, %q, want %q", refused[0], code, errs, refused[2])
		}
	}
	limits("50331648\n39\n80000 100000")
	if out := c.cri(t, "inspectp", sandbox); !strings.Contains(out, `"ip": "10.99.`) {
		t.Errorf("inspectp: %s", out)
	}
}

// forwardPort has a server at the loopback of the machine.
func (c *cluster) forwardPort(t *testing.T, sandbox string) {
	t.Helper()
	cmd := c.inside(t.Context(), c.crictlWords("port-forward", sandbox, "18080:8080")...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "Forwarding from") {
		t.Fatalf("port-forward: %q, %v", line, err)
	}
	if body := c.get(t, "127.0.0.1:18080"); body != "served" {
		t.Errorf("a forwarded port leads to %q, want the server in the machine", body)
	}
}

// recorder records the status of an answer.
type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	r.code = code
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return len(b), nil
}
