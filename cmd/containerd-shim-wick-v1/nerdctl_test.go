package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestNerdctl runs containers by nerdctl, with a network that its hooks make.
func TestNerdctl(t *testing.T) {
	c := newCluster(t)
	c.options.namespace = "default"
	nerdctl := func(args ...string) (string, error) {
		words := append([]string{
			c.clients + "/nerdctl", "--address", c.options.address, "--data-root", c.dir + "/nerdctl",
			"--cni-path", c.clients, "--cni-netconfpath", c.dir + "/cni", "--insecure-registry",
		}, args...)
		cmd := c.inside(t.Context(), words...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Logf("nerdctl %q: %v\n%s", args, err, &errs)
		}
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := nerdctl(args...)
		if err != nil {
			t.Fatalf("nerdctl %q: %v\n%s\n%s", args, err, out, c.lastLog())
		}
		return strings.TrimSpace(out)
	}
	image := c.registry + "/box:1"
	_, err := exec.LookPath("iptables")
	publish := err == nil // by CNI's portmap, which needs it
	args := []string{"run", "--runtime", runtimeName, "-d", "--name", "web", "-e", "A=b", "--memory", "100m", "--cpus", "0.5"}
	if publish {
		args = append(args, "-p", "127.0.0.1:8099:80")
	}
	id := must(append(args, image, "sh", "-c", "trap 'exit 3' TERM; echo started; hostname >/index.html; httpd -p 80 -h /; while :; do sleep 0.1; done")...)
	if out := must("exec", "web", "sh", "-c", "echo $A; ip -o -4 addr show eth0; cat /sys/fs/cgroup/memory.max"); !strings.HasPrefix(out, "b\n") ||
		!strings.Contains(out, "inet 10.99.0.") || !strings.HasSuffix(out, "104857600") {
		t.Errorf("exec: %q", out)
	}
	address := "127.0.0.1:8099"
	if !publish {
		address = must("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web") + ":80"
	}
	if out := c.get(t, address); out != id[:12] {
		t.Errorf("the server at %s says %q, want the host name %s", address, out, id[:12])
	}
	await(t, "log", func() bool { return must("logs", "web") == "started" })
	if out := must("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "web"); !strings.Contains(out, "/ 100MiB ") || strings.HasPrefix(out, "0B") {
		t.Errorf("stats: %q", out)
	}
	must("update", "--memory", "90m", "web")
	if out := must("exec", "web", "cat", "/sys/fs/cgroup/memory.max"); out != "94371840" {
		t.Errorf("memory.max after an update: %q", out)
	}
	must("stop", "web")
	if out := must("inspect", "--format", "{{.State.ExitCode}}", "web"); out != "3" {
		t.Errorf("exit code %q of a container that TERM has stopped, want 3", out)
	}
	must("rm", "web")
	c.clean(t, id)
	if out, err := nerdctl("run", "--runtime", runtimeName, "--rm", "--net", "none", image, "sh", "-c", "ls /sys/class/net; exit 4"); out != "lo\n" || err == nil {
		t.Errorf("run --rm --net none: %q, %v; want lo and exit code 4", out, err)
	}
	if log := c.lastLog(); strings.Contains(log, "run the hook") {
		t.Errorf("a hook failed: %s", log)
	}
}

// get returns what a server in the network namespace says.
func (c *cluster) get(t *testing.T, address string) (body string) {
	t.Helper()
	err := inNamespace(c.netns, func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		client := http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		}}
		r, err := client.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		body = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		t.Errorf("get from %s: %v\n%s", address, err, c.lastLog())
	}
	return body
}
