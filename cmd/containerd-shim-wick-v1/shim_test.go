package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const goArch = runtime.GOARCH

// TestRun runs a container to its end by ctr. The spec's process must be what it asks for.
func TestRun(t *testing.T) {
	d := containerd(t)
	out := d.run(t, 3, "--user", "1000:1000", "--cwd", "/srv/new", "--env", "A=b c", "--memory-limit", "134217728",
		"--read-only", testImage, "run1", "sh", "-c",
		`id -u; id -g; pwd; echo "$A $HOME"; ulimit -n; echo $$; touch /x 2>&1; ls -A /.wick; ls /dev/vda 2>&1
		grep -E 'NoNewPrivs|CapEff' /proc/self/status; echo problem >&2; exit 3`)
	for _, want := range []string{
		"1000\n1000\n/srv/new\nb c /home/user\n1024\n1\n", "touch: /x: Read-only file system", "/dev/vda: No such file",
		"NoNewPrivs:\t1", "CapEff:\t0000000000000000",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
	d.clean(t, "run1")
}

// recordEvents records containerd's events. The function that it returns ends that, and returns the
// lines of all events.
func (d *daemon) recordEvents(t *testing.T) (end func() string) {
	t.Helper()
	cmd := d.command(t.Context(), "events")
	var seen bytes.Buffer
	cmd.Stdout = &seen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		cmd.Process.Kill()
		cmd.Wait()
		return seen.String()
	}
}

// TestLife leads a task through its life: exec, stdin, signals, metrics, pause, and the end.
func TestLife(t *testing.T) {
	d := containerd(t)
	events := d.recordEvents(t)
	const id = "life1"
	d.must(t, "run", "-d", "--runtime", runtimeName, testImage, id, "sh", "-c",
		`trap "exit 7" TERM; while :; do sleep 0.1; done`)
	if got := d.status(t, id); got != "RUNNING" {
		t.Errorf("status %q, want RUNNING", got)
	}
	for _, test := range []struct {
		name, stdin string
		args        []string
		out         string
		code        int
	}{
		{"exec", "", []string{"sh", "-c", "echo out; test $$ -gt 1 && ps | grep -c [T]ERM; exit 5"}, "out\n1\n", 5},
		{"stdin", "piped\n", []string{"cat"}, "piped\n", 0},
		{"killed", "", []string{"sh", "-c", "kill -9 $$"}, "", 137},
		{"missing", "", []string{"/no/such"}, "", 1},
	} {
		args := append([]string{"task", "exec", "--exec-id", test.name, id}, test.args...)
		if out, errs, code := d.ctr(t, test.stdin, args...); out != test.out || code != test.code {
			t.Errorf("%s: %q, exit code %d, stderr %q; want %q, %d", test.name, out, code, errs, test.out, test.code)
		}
	}
	metrics := d.must(t, "task", "metrics", id)
	for _, name := range []string{"pids.current", "cpu.usage_usec", "memory.usage"} {
		_, rest, _ := strings.Cut(metrics, name+" ")
		if value, _ := strconv.Atoi(strings.Fields(rest + " 0")[0]); value <= 0 {
			t.Errorf("metric %s is not above 0 in %q", name, metrics)
		}
	}
	if list := d.must(t, "task", "ps", id); strings.Count(list, "\n") < 2 {
		t.Errorf("ps lists no process: %q", list)
	}
	d.must(t, "task", "pause", id)
	if got := d.status(t, id); got != "PAUSED" {
		t.Errorf("status %q, want PAUSED", got)
	}
	if _, errs, code := d.ctr(t, "", "task", "exec", "--exec-id", "paused", id, "true"); code == 0 || !strings.Contains(errs, "is paused") {
		t.Errorf("exec in a paused container: exit code %d, %q", code, errs)
	}
	d.must(t, "task", "resume", id)
	if kB := memory(d.program(id, true), "VmRSS"); kB == 0 || kB > shimLimit {
		t.Errorf("the shim has %d kB of memory, want at most %d", kB, shimLimit)
	}
	if _, errs, code := d.ctr(t, "", "task", "checkpoint", id); code == 0 || !strings.Contains(errs, "checkpoint a container: not supported") {
		t.Errorf("checkpoint: exit code %d, %q", code, errs)
	}
	d.must(t, "task", "kill", "-s", "TERM", id)
	await(t, "end by TERM", func() bool { return d.status(t, id) == "STOPPED" })
	if _, _, code := d.ctr(t, "", "task", "rm", id); code != 7 && code != 0 {
		t.Errorf("rm: exit code %d", code)
	}
	d.must(t, "container", "rm", id)
	d.clean(t, id)
	seen := events()
	at := 0
	for _, topic := range []string{
		"/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit", "/tasks/paused",
		"/tasks/resumed", "/tasks/exit", "/tasks/delete",
	} {
		i := strings.Index(seen[at:], topic)
		if i < 0 {
			t.Fatalf("no event %s after %q in\n%s", topic, seen[:at], seen)
		}
		at += i
	}
	if !strings.Contains(seen[at-500:], `"exit_status":7`) {
		t.Errorf("no exit status 7 in the last events: %s", seen[at-500:])
	}
}

// TestVolumes gives a container a directory to write, one to read, and a file.
func TestVolumes(t *testing.T) {
	d := containerd(t)
	dir := t.TempDir()
	for _, name := range []string{"rw", "ro"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "file"), []byte("of the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sub := filepath.Join(dir, "nested/sub") // a mount in a volume
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("wick", sub, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(sub, unix.MNT_DETACH)
	out := d.run(t, 0, "--mount", "type=bind,src="+dir+"/rw,dst=/rw,options=rbind:rw",
		"--mount", "type=bind,src="+dir+"/nested,dst=/n,options=rbind:ro",
		"--mount", "type=bind,src="+dir+"/nested,dst=/rn,options=rbind:rro",
		"--mount", "type=bind,src="+dir+"/ro,dst=/ro,options=rbind:ro",
		"--mount", "type=bind,src="+dir+"/ro/file,dst=/etc/one,options=bind:ro",
		testImage, "volume1", "sh", "-c",
		"cat /rw/file /ro/file /etc/one; echo of the guest >/rw/guest; ls -A /.wick; touch /n/sub/x; for f in /ro/x /n/x /rn/x /rn/sub/y; do touch $f 2>&1; done; true")
	want := strings.Repeat("of the host\n", 3)
	for _, file := range []string{"/ro/x", "/n/x", "/rn/x", "/rn/sub/y"} {
		want += "touch: " + file + ": Read-only file system\n"
	}
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "rw/guest")); string(b) != "of the guest\n" {
		t.Errorf("the host reads %q, %v", b, err)
	}
	d.clean(t, "volume1")
	if b, err := os.ReadFile(filepath.Join(dir, "ro/file")); string(b) != "of the host\n" {
		t.Errorf("after the end the host reads %q, %v", b, err)
	}
}

// TestNative has the snapshotter that copies, a log file for output, and the host's network.
func TestNative(t *testing.T) {
	d := containerd(t)
	log := filepath.Join(t.TempDir(), "log")
	d.must(t, "run", "-d", "--runtime", runtimeName, "--snapshotter", "native", "--log-uri", "file://"+log,
		"--annotation", "wick.memory=200", "--annotation", "wick.cpus=2", testImage, "native1", "sh", "-c",
		"grep -c processor /proc/cpuinfo; free -m | grep Mem; echo err >&2")
	await(t, "end", func() bool { return d.status(t, "native1") == "STOPPED" })
	d.must(t, "task", "rm", "native1")
	d.must(t, "container", "rm", "native1")
	d.clean(t, "native1")
	b, err := os.ReadFile(log)
	if err != nil || !strings.HasPrefix(string(b), "2\nMem:") || !strings.HasSuffix(string(b), "err\n") {
		t.Errorf("log %q, %v", b, err)
	}
}

// TestRefused has what this runtime cannot do refused with the reason, and leaves nothing.
func TestRefused(t *testing.T) {
	d := containerd(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"namespace", []string{"--with-ns", "network:/no/such"}, "join the network namespace"},
		{"device", []string{"--device", "/dev/kmsg"}, "give the container the device"},
		{"annotation", []string{"--annotation", "wick.memory=much"}, "is not a number above 0"},
		{"type", []string{"--mount", "type=nfs,src=x,dst=/x"}, `type "nfs" is not supported`},
	} {
		args := append([]string{"run", "--rm", "--runtime", runtimeName}, test.args...)
		_, errs, code := d.ctr(t, "", append(args, testImage, "refuse-"+test.name, "true")...)
		if code == 0 || !strings.Contains(errs, test.want) {
			t.Errorf("%s: exit code %d, %q, want %q", test.name, code, errs, test.want)
		}
		d.clean(t, "refuse-"+test.name)
	}
}

// TestPod runs two containers in the machine of a sandbox, by the annotations of containerd's CRI.
func TestPod(t *testing.T) {
	d := containerd(t)
	pod := func(kind string) []string {
		return []string{
			"run", "-d", "--runtime", runtimeName, "--annotation", containerType + "=" + kind,
			"--annotation", sandboxID + "=pod1",
		}
	}
	d.must(t, append(pod("sandbox"), "--hostname", "podhost", testImage, "pod1", "sleep", "1000000")...)
	dir := t.TempDir()
	for _, id := range []string{"pod1-a", "pod1-b"} {
		d.must(t, append(pod("container"), "--mount", "type=bind,src="+dir+",dst=/vol,options=rbind:rw", testImage, id, "sh", "-c",
			"echo "+id+" $$ >/vol/"+id+"; touch /mark; ls /.wick; exec sleep 1000000")...)
	}
	o := d.options
	monitors := 0
	for _, pid := range processesOf(o.place("pod1"), "pod1") {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.HasPrefix(string(name), "qemu") {
			monitors++
		}
	}
	if monitors != 1 {
		t.Errorf("the pod has %d machines, want one", monitors)
	}
	for _, id := range []string{"pod1-a", "pod1-b"} {
		await(t, "write to the volume", func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, id))
			return len(b) > 0
		})
		if b, _ := os.ReadFile(filepath.Join(dir, id)); string(b) != id+" 1\n" {
			t.Errorf("container %s wrote %q, want its own pid namespace", id, b)
		}
		if out := d.must(t, "task", "exec", "--exec-id", "e", id, "ls", "/mark"); out != "/mark\n" {
			t.Errorf("exec in %s: %q", id, out)
		}
	}
	if _, _, code := d.ctr(t, "", "task", "exec", "--exec-id", "e", "pod1", "ls", "/mark"); code != 1 {
		t.Errorf("the sandbox sees a file of a container")
	}
	for _, id := range []string{"pod1-a", "pod1-b", "pod1"} {
		d.must(t, "task", "kill", "-s", "KILL", id)
		await(t, "end by KILL", func() bool { return d.status(t, id) == "STOPPED" })
		d.ctr(t, "", "task", "rm", id)
		d.must(t, "container", "rm", id)
	}
	d.clean(t, "pod1")
}

// TestOutOfMemory has a container use more memory than its machine has. The event says so.
func TestOutOfMemory(t *testing.T) {
	d := containerd(t)
	events := d.recordEvents(t)
	d.run(t, 137, "--memory-limit", "67108864", testImage, "oom1", "tail", "/dev/zero")
	d.clean(t, "oom1")
	seen := events()
	if !strings.Contains(seen, `/tasks/oom {"container_id":"oom1"}`) {
		t.Errorf("no event of lacking memory in\n%s", seen)
	}
}
