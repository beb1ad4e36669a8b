package guesttest

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/framing/client"
)

// awaitService waits until a service has a state, and returns it.
func awaitService(t *testing.T, c *client.Client, name, state string) client.Service {
	t.Helper()
	var last []client.Service
	for list, err := range c.WatchServices(deadline(t, stepLimit)) {
		if err != nil {
			t.Fatalf("service %s is not %s: %v; the last list: %+v", name, state, err, last)
		}
		for _, s := range list {
			if s.Name == name && s.State == state {
				return s
			}
		}
		last = list
	}
	panic("unreachable")
}

// TestServices has a machine with many services. They are started in order, watched, limited, and
// stopped in the reverse order.
func TestServices(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	stopped := func(name string) string {
		return "trap 'echo " + name + " >>/root/order; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
	}
	c := working(t, l,
		"workload=sh:"+stopped("workload"), "workload-after=web,setup",
		"service.setup.command=sh:echo $WHERE >/root/setup; exit 0", "service.setup.ready=end", "service.setup.env=WHERE=here",
		"service.web.command=sh:busybox httpd -p 8080 -h /; "+stopped("web"), "service.web.ready=port:8080", "service.web.after=app",
		"service.app.command=/run/peer notify STATUS=well READY=1", "service.app.ready=notify", "service.app.user=7:8",
		"service.app.after=setup", "service.app.restart=always",
		"service.crash.command=sh:exit 3", "service.crash.restart=always",
		"service.dog.command=sh:sleep 1000", "service.dog.watchdog=1",
		"service.small.command=sh:cd /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup) && cat memory.max pids.max && ulimit -n && tail /dev/zero",
		"service.small.limit=memory=32m", "service.small.limit=pids=50", "service.small.limit=nofile=77",
		"service.shell.command=sh:echo hello >/dev/tty && tty", "service.shell.terminal=console",
		"service.lost.command=sh:exit 0", "service.lost.after=nothing",
	)
	disk := c.Drives[1].Path
	v, conn := boot(t, l, c)
	ctx := deadline(t, 4*stepLimit)
	v.console.await(t, `warn option ignored error="/dev/vdc line 25: service.lost.after: no service is named nothing"`, 1)
	v.console.await(t, "hello", 1)
	awaitService(t, conn, "lost", "failed")
	awaitService(t, conn, "setup", "ended")
	if s := awaitService(t, conn, "dog", "failed"); s.Code != 128+int(syscall.SIGABRT) {
		t.Errorf("the service that missed its watchdog is %+v", s)
	}
	if s := awaitService(t, conn, "small", "failed"); s.Code != 137 {
		t.Errorf("the service that used more than its memory is %+v", s)
	}
	testSmallOutput(ctx, t, conn)
	if s := awaitService(t, conn, "app", "backing-off"); s.Error != "exec /run/peer: no such file or directory" {
		t.Errorf("the service without a program is %+v", s)
	}
	put(t, conn, "/run/peer", l.peer)
	run(t, conn, "chmod 755 /run/peer")
	if err := conn.StartService(ctx, "app"); err != nil {
		t.Error(err)
	}
	if s := awaitService(t, conn, "app", "ready"); s.Status != "well" {
		t.Errorf("the service that notifies is %+v", s)
	}
	awaitService(t, conn, "web", "ready")
	awaitService(t, conn, "workload", "ready")
	// The name of the socket helps no other process.
	spawn(t, conn, "NOTIFY_SOCKET=$(tr '\\0' '\\n' </proc/$(pidof peer)/environ | sed -n s/NOTIFY_SOCKET=//p) exec /run/peer notify STATUS=forged")
	v.console.await(t, "warn notification ignored pid=", 1)
	if s := awaitService(t, conn, "app", "ready"); s.Status != "well" {
		t.Errorf("after a notification of another process the service is %+v", s)
	}
	if err := conn.StopService(ctx, "crash"); err != nil {
		t.Error(err)
	}
	awaitService(t, conn, "crash", "ended")
	if err := conn.SignalService(ctx, "crash", syscall.SIGHUP); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal to a service that was stopped: %v", err)
	}
	if got := figure(t, run(t, conn, idle), "idle"); got > 0 {
		t.Errorf("process 1 wakes up %d times in 5 s beside services that sleep", got)
	}
	if err := conn.PowerOff(deadline(t, downLimit), 0); err != nil {
		t.Error(err)
	}
	v.goneBy("guest-shutdown")
	all, _ := v.console.look()
	at := -1
	for _, line := range []string{
		"info workload stopping", "info workload ended", "info service web stopping", "info service web ended",
		"info service app stopping", "service app ended",
	} {
		next := strings.Index(all, line)
		if next <= at {
			t.Errorf("%q comes too early or not at all", line)
		}
		at = next
	}
	if got := onDisk(t, disk, "/root/order") + onDisk(t, disk, "/root/setup"); got != "workload\nweb\nhere\n" {
		t.Errorf("the disk has %q", got)
	}
}

// testSmallOutput attaches to a service that has ended, by its name.
func testSmallOutput(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	small := client.Service{Name: "small"}
	var out strings.Builder
	cmd, err := c.Attach(ctx, small.ID(), client.AttachOptions{
		Prepare: func(cmd *client.Cmd) { cmd.Stdout = &out },
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := cmd.Wait(ctx); r == nil || r.Code != 137 || out.String() != "33554432\n50\n77\n" {
		t.Errorf("the receipt is %v, the output %q", r, out.String())
	}
}

// TestServicesScratch boots a root that has a static program alone. At its end one service is
// stopped, another waits for its next start, and a third for that.
func TestServicesScratch(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/app", l.peer, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := image.Build(deadline(t, bootLimit), l.Store, l.Kernel.Arch, dir, file(t, l.init))
	machinetest.Need(t, err)
	c := working(t, l,
		"workload=/app notify STATUS=alone READY=1", "workload-ready=notify", "workload-stop=TERM:60",
		"service.echo.command=/app echo tcp 127.0.0.1:80", "service.echo.ready=port:80", "service.echo.after=workload",
		"service.off.command=/none", "service.off.restart=always", "service.late.command=/app", "service.late.after=off",
	)
	c.Drives[0].Path = root.Path
	v, conn := boot(t, l, c)
	if s := awaitService(t, conn, "workload", "ready"); s.Status != "alone" {
		t.Errorf("the workload is %+v", s)
	}
	awaitService(t, conn, "echo", "ready")
	awaitService(t, conn, "off", "backing-off")
	if s := awaitService(t, conn, "late", "waiting"); s.Waits != "off" {
		t.Errorf("the service after one that fails is %+v", s)
	}
	if err := conn.SignalService(deadline(t, stepLimit), "workload", syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	if err := conn.PowerOff(deadline(t, downLimit), 0); err != nil {
		t.Error(err)
	}
	v.goneBy("guest-shutdown")
	all, _ := v.console.look()
	for _, line := range []string{"survived its signal", "service late started"} {
		if strings.Contains(all, line) {
			t.Errorf("the console has %q", line)
		}
	}
	v.console.await(t, "warn service echo ended code=143 signal=SIGTERM", 1)
	v.console.await(t, "warn workload ended code=143 signal=SIGTERM", 1)
}
