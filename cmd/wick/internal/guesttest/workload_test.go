package guesttest

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
	"wick/framing"
	"wick/framing/client"
)

// working returns the configuration of a machine whose configuration drive has these lines.
func working(t *testing.T, l *fixture, lines ...string) *config {
	t.Helper()
	c := usual(t, l)
	text := strings.Join(lines, "\n") + "\n"
	drive := file(t, append([]byte(text), make([]byte, 4096-len(text)%512)...))
	c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: drive})
	c.overlay = ""
	c.InitArgs = []string{"--config=/dev/vdc"}
	return c
}

// workload returns the facts about the workload.
func workload(t *testing.T, c *client.Client) map[string]string {
	t.Helper()
	hello, err := c.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	return maps.Collect(hello.Under("workload."))
}

// wantWorkload checks the facts about the workload.
func wantWorkload(t *testing.T, c *client.Client, want map[string]string) {
	t.Helper()
	if got := workload(t, c); !maps.Equal(got, want) {
		t.Errorf("the workload's facts are %q, want %q", got, want)
	}
}

// attach attaches to the workload, and returns what has the output at its end.
func attach(t *testing.T, c *client.Client) (cmd *client.Cmd, out *bytes.Buffer) {
	t.Helper()
	out = &bytes.Buffer{}
	cmd, err := c.Attach(deadline(t, 2*stepLimit), framing.WorkloadID, client.AttachOptions{
		Prepare: func(cmd *client.Cmd) { cmd.Stdout, cmd.Stderr = out, out },
	})
	if err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// wait waits for the end of an attached workload.
func wait(t *testing.T, cmd *client.Cmd) *client.Receipt {
	t.Helper()
	r, err := cmd.Wait(deadline(t, stepLimit))
	if r == nil {
		t.Fatal(err)
	}
	return r
}

// TestWorkloadTries has a workload fail three times, which is as often as it is started. The host
// that comes later gets the output of all three, and the last exit code.
func TestWorkloadTries(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	v, conn := boot(t, l, working(t, l,
		`workload = sh:echo "$SECRET" | wc -c; pwd; id -u; (sleep 1000 &); exit 7`, "workload-dir=/tmp", "workload-user=7:8",
		"workload-env=SECRET=hidden", "workload-restart=on-failure", "workload-tries=3",
	))
	v.console.await(t, `warn workload ended code=7 restart="in 0.1s"`, 1)
	v.console.await(t, `warn workload ended code=7 restart="in 0.2s"`, 1)
	v.console.await(t, "warn workload ended code=7 restart=no tries=3", 1)
	if n := v.console.count("info workload started pid="); n != 3 {
		t.Errorf("the workload was started %d times, want 3", n)
	}
	wantWorkload(t, conn, map[string]string{"state": "failed", "restarts": "2", "code": "7"})
	if got := run(t, conn, "pgrep -c -x sleep || pidof sleep | wc -w"); strings.TrimSpace(got) != "1" {
		t.Errorf("%s processes are left, want that of the last run", strings.TrimSpace(got))
	}
	cmd, out := attach(t, conn)
	if r := wait(t, cmd); r.Code != 7 || r.Stdout != 3*9 {
		t.Errorf("the workload's receipt is %v, %d bytes", r, r.Stdout)
	}
	if got := out.String(); got != strings.Repeat("7\n/tmp\n7\n", 3) {
		t.Errorf("the workload's output is %q", got)
	}
	if all, _ := v.console.look(); strings.Contains(all, "hidden") {
		t.Error("the console shows a value of the environment")
	}
	hello, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	if where, _ := hello.Fact("config.workload-env.SECRET"); where != "/dev/vdc line 4" {
		t.Errorf("the entry was set by %q", where)
	}
	run(t, conn, "tr '\\0' '\\n' </proc/1/environ | grep -c hidden && exit 1; exit 0")
	signal(t, conn, "TERM")
	v.gone()
}

// TestWorkloadCrashes has a workload that crashes each time, and powers the machine off while the
// next start waits.
func TestWorkloadCrashes(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := working(t, l, "workload=sh:kill -SEGV $$", "workload-restart=always")
	v, conn := boot(t, l, c)
	v.console.await(t, `warn workload ended code=139 signal=SIGSEGV restart="in 1.6s"`, 1)
	if err := conn.PowerOff(deadline(t, downLimit), 0); err != nil {
		t.Error(err)
	}
	v.goneBy("guest-shutdown")
	all, _ := v.console.look()
	if _, rest, ok := strings.Cut(all, "info ending conn="); !ok || strings.Contains(rest, "workload started") {
		t.Errorf("after the host has asked for the end: %s", rest)
	}
}

// TestWorkloadFlood has a workload write without end, and no host that reads it.
func TestWorkloadFlood(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	v, conn := boot(t, l, working(t, l, "workload=sh:mkfifo /run/up; yes | head -c 200000; echo >/run/up; exec yes", "workload-wait=host"))
	before := workload(t, conn) // the hello that it waits for
	if before["state"] == "" {
		t.Errorf("the workload's facts are %q", before)
	}
	v.console.await(t, "info workload started pid=", 1)
	until(t, conn, "[ -p /run/up ]")
	run(t, conn, "read x </run/up")
	var slowest time.Duration
	for range 50 {
		took, err := conn.Ping(deadline(t, stepLimit))
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, took)
	}
	t.Logf("the slowest of 50 pings beside a workload that writes all the time: %v", slowest)
	if facts := workload(t, conn); facts["state"] != "ready" || facts["pid"] == "" {
		t.Errorf("the workload's facts are %q", facts)
	}
	cmd, err := conn.Attach(deadline(t, stepLimit), framing.WorkloadID, client.AttachOptions{Prepare: func(cmd *client.Cmd) {
		cmd.Stdout = writerFunc(func(p []byte) (int, error) {
			if got := strings.Trim(string(p), "y\n"); got != "" {
				t.Errorf("the output has %.20q", got)
			}
			return len(p), nil
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Cancel(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	if r := wait(t, cmd); r.Reason != framing.ReasonCancelled || r.StdoutDropped == 0 || r.Stdout <= r.StdoutDropped {
		t.Errorf("the workload's receipt is %v, %d bytes, %d dropped", r, r.Stdout, r.StdoutDropped)
	}
	signal(t, conn, "TERM")
	v.gone()
}

// writerFunc is a function as an [io.Writer].
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestWorkloadEndsMachine has the end of a workload end the machine. Its host learns the exit code
// before that.
func TestWorkloadEndsMachine(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := working(t, l, "workload=sh:echo done; exit 7", "workload-wait=host", "workload-end=machine", "workload-console", "end=poweroff")
	v, conn := boot(t, l, c)
	cmd, out := attach(t, conn)
	if r := wait(t, cmd); r.Code != 7 || out.String() != "done\n" {
		t.Errorf("the workload's receipt is %v, its output %q", r, out)
	}
	v.goneBy("guest-shutdown")
	v.console.await(t, "warn workload ended code=7 restart=no end=machine", 1)
	v.console.await(t, "info ending workload=ended", 1)
	if n := v.console.count("done\r\n"); n != 1 {
		t.Errorf("the workload's output is on the console %d times", n)
	}
}

// TestWorkloadMissing has a program that is not there. The machine stays, and says why.
func TestWorkloadMissing(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	v, conn := boot(t, l, working(t, l, "workload=/srv/none --flag", "workload-restart=no"))
	v.console.await(t, `warn workload not started code=127 error="exec /srv/none: no such file or directory" restart=no`, 1)
	wantWorkload(t, conn, map[string]string{
		"state": "failed", "restarts": "0", "code": "127", "error": "exec /srv/none: no such file or directory",
	})
	var failed *client.OpError
	_, err := conn.Attach(deadline(t, stepLimit), framing.WorkloadID, client.AttachOptions{})
	if !errors.As(err, &failed) || failed.Errno != syscall.ESRCH {
		t.Errorf("attach: %v, want ESRCH", err)
	}
	run(t, conn, "true")
	signal(t, conn, "TERM")
	v.gone()
}

// TestWorkloadStops stops a workload by its own signal, before all other processes, and another one
// that ignores it. An idle machine does not wake up for a workload that sleeps.
func TestWorkloadStops(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := working(t, l,
		// The other process notes whether the workload's end came first.
		`workload=sh:trap 'echo clean >/root/stopped; exit 0' USR1; trap '' TERM; while :; do sleep 1000 & wait $!; done`,
		"workload-stop=USR1:60", "workload-restart=always",
	)
	disk := c.Drives[1].Path
	v, conn := boot(t, l, c)
	v.console.await(t, "info workload started pid=", 1)
	out := run(t, conn, idle)
	if got := figure(t, out, "idle"); got > 0 {
		t.Errorf("process 1 wakes up %d times in 5 s beside a workload that sleeps", got)
	}
	t.Logf("beside a workload that sleeps process 1 has VmRSS %d, RssAnon %d", figure(t, out, "VmRSS"), figure(t, out, "RssAnon"))
	run(t, conn, "mkfifo /run/up")
	spawn(t, conn, `trap 'cp /root/stopped /root/seen; exit 0' TERM; echo >/run/up; while :; do sleep 1000 & wait $!; done`)
	run(t, conn, "read x </run/up")
	signal(t, conn, "TERM")
	v.gone()
	v.console.await(t, "info workload stopping signal=SIGUSR1", 1)
	v.console.await(t, "info workload ended code=0", 1)
	wantClean(t, disk)
	if got := onDisk(t, disk, "/root/seen"); got != "clean\n" {
		t.Errorf("the other process saw %q, want that the workload has ended first", got)
	}

	v, conn = boot(t, l, working(t, l, "workload=sh:trap '' INT TERM; : >/run/ready; while :; do sleep 1000; done", "workload-stop=INT:1"))
	run(t, conn, "until test -e /run/ready; do :; done") // started, but before the trap, it would end
	signal(t, conn, "TERM")
	v.gone()
	v.console.await(t, "warn killing the workload, it survived its signal", 1)
	v.console.await(t, "warn workload ended code=137 signal=SIGKILL", 1)
}

// TestWorkloadAttached restarts a workload under a host, which attaches again. It is described on
// the kernel's command line.
func TestWorkloadAttached(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.InitArgs = []string{`--workload="sh:mkfifo /run/gate 2>/dev/null; read x </run/gate; exit $x"`, "--workload-restart=on-failure"}
	v, conn := boot(t, l, c)
	v.console.await(t, "info workload started pid=", 1)
	cmd, _ := attach(t, conn)
	until(t, conn, "[ -p /run/gate ]")
	run(t, conn, "echo 3 >/run/gate")
	if r := wait(t, cmd); r.Code != 3 {
		t.Errorf("the first run's receipt is %v", r)
	}
	v.console.await(t, "info workload started pid=", 2)
	cmd, _ = attach(t, conn)
	run(t, conn, "echo 0 >/run/gate")
	if r := wait(t, cmd); r.Code != 0 {
		t.Errorf("the second run's receipt is %v", r)
	}
	wantWorkload(t, conn, map[string]string{"state": "ended", "restarts": "1", "code": "0"})
	signal(t, conn, "TERM")
	v.gone()
}

// TestWorkloadRun has wick run follow a workload that crashes and is started again, until it is
// not. Then the run ends with its last exit code. So does a machine that stays.
func TestWorkloadRun(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	busybox, err := image.Busybox(deadline(t, stepLimit), needFixture(t).Store, runtime.GOARCH)
	machinetest.Need(t, err)
	box := filepath.Join(w.dir, "box")
	const conf = `workload = sh:[ -e /once ] && echo twice && exit 7; echo once | busybox tee /once; kill -SEGV $$
workload-restart = on-failure
workload-tries = 2
`
	for name, content := range map[string]string{"bin/.keep": "", "etc/vm-init.conf": conf} {
		path := filepath.Join(box, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", busybox, box+"/bin/busybox").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Symlink("busybox", box+"/bin/sh"); err != nil {
		t.Fatal(err)
	}
	if got := w.run(7, "run", "--rootfs", box); got != "once\ntwice\n" {
		t.Errorf("wick run prints %q", got)
	}
	w.run(0, "run", "-d", "--name", "web", "--rootfs", box)
	if got := strings.TrimSpace(w.run(0, "wait", "web")); got != "7" {
		t.Errorf("wick wait prints %q", got)
	}
	if got := w.run(0, "logs", "web"); got != "once\ntwice\n" {
		t.Errorf("wick logs prints %q", got)
	}
}
