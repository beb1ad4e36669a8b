package main

import (
	"archive/tar"
	"os"
	"strings"
	"testing"
)

// TestEROFS runs an image of two layers from the snapshotter that makes an EROFS of each. The
// machine has them as disks, and a pod's container has them by the host.
func TestEROFS(t *testing.T) {
	d := containerd(t)
	if out := d.must(t, "plugins", "ls"); !strings.Contains(strings.Join(strings.Fields(out), " "), "snapshotter.v1 erofs linux/"+goArch+" ok") {
		t.Skip("the erofs snapshotter needs erofs in the host's kernel, and erofs-utils")
	}
	const image = "docker.io/library/two:1"
	second := archive(func(w *tar.Writer) {
		file(w, "etc/second", []byte("of the second layer\n"), 0o644)
		file(w, "etc/passwd", []byte("root:x:0:0:changed:/:/bin/sh\n"), 0o644)
		file(w, "etc/.wh.group", nil, 0o644)
	})
	b, err := boxImage(image, second)
	if err == nil {
		err = os.WriteFile(d.dir+"/two.tar", b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.must(t, "image", "import", "--local", "--snapshotter", "erofs", d.dir+"/two.tar")
	before, _ := os.ReadFile("/proc/self/mountinfo")
	pod := func(kind string) []string {
		return []string{
			"run", "-d", "--runtime", runtimeName, "--snapshotter", "erofs", "--annotation", containerType + "=" + kind,
			"--annotation", sandboxID + "=erofs1", image,
		}
	}
	d.must(t, append(pod("sandbox"), "erofs1", "sleep", "1000000")...)
	d.must(t, append(pod("container"), "erofs1-a", "sleep", "1000000")...)
	for _, id := range []string{"erofs1", "erofs1-a"} {
		out := d.must(t, "task", "exec", "--exec-id", "e", id, "sh", "-c",
			"cat /etc/second /etc/passwd; ls /etc/group 2>/dev/null || echo gone; echo written >/etc/new; cat /etc/new; grep -c erofs /proc/filesystems")
		if want := "of the second layer\nroot:x:0:0:changed:/:/bin/sh\ngone\nwritten\n1\n"; out != want {
			t.Errorf("%s: %q, want %q", id, out, want)
		}
	}
	for _, id := range []string{"erofs1-a", "erofs1"} {
		d.must(t, "task", "kill", "-s", "KILL", id)
		await(t, "end by KILL", func() bool { return d.status(t, id) == "STOPPED" })
		d.ctr(t, "", "task", "rm", id)
		d.must(t, "container", "rm", id)
	}
	d.clean(t, "erofs1")
	if after, _ := os.ReadFile("/proc/self/mountinfo"); strings.Count(string(after), " erofs ") > strings.Count(string(before), " erofs ") {
		t.Errorf("mounts are left:\n%s", after)
	}
}
