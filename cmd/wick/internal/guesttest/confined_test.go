package guesttest

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"wick/framing"
	"wick/framing/client"
)

// TestConfined boots a machine whose workload is confined by its configuration.
func TestConfined(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	v, conn := boot(t, l, working(t, l,
		`workload = sh:grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status; echo $$; touch /x 2>&1; touch /mnt/x && ls /mnt; ls /sys/kernel`,
		"workload-cap-drop=ALL", "workload-cap-add=NET_BIND_SERVICE,cap_chown", "workload-no-new-privs", "workload-read-only",
		"workload-mount-tmpfs=/mnt", "workload-pid=private", "workload-mask=/sys/kernel",
	))
	v.console.await(t, "info workload ended code=0", 1)
	cmd, out := attach(t, conn)
	wait(t, cmd)
	const set = "0000000000000401"
	want := "CapEff:\t" + set + "\nCapBnd:\t" + set + "\nNoNewPrivs:\t1\n1\ntouch: /x: Read-only file system\nx\n"
	if got := out.String(); got != want {
		t.Errorf("the workload printed %q, want %q", got, want)
	}
	signal(t, conn, "TERM")
	v.gone()
}

// confined returns a shell command with flags of wick exec.
func confined(t *testing.T, c *client.Client, line string, flags ...string) *client.Cmd {
	t.Helper()
	var o framing.ConfineOptions
	for _, flag := range flags {
		name, value, given := strings.Cut(flag, "=")
		if !given {
			value = "yes"
		}
		if reason := o.Set(name, value); reason != "" {
			t.Fatalf("Set(%q, %q) = %q", name, value, reason)
		}
	}
	cmd := c.ShellCommand(line)
	cmd.Confinement = o.Confinement()
	return cmd
}

// wantPrinted runs a command and compares its output.
func wantPrinted(t *testing.T, cmd *client.Cmd, want string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if _, err := cmd.Run(deadline(t, stepLimit)); err != nil || out.String() != want {
		t.Errorf("%s printed %q, %v, want %q", cmd, out.String(), err, want)
	}
}

// testConfined runs commands that are confined as by the flags of wick exec, one of them in the
// namespaces of another.
func testConfined(t *testing.T, s *served) {
	run(t, s.conn, "mkdir -p /srv/root/bin && cp /bin/busybox /srv/root/bin/ && ln -s busybox /srv/root/bin/sh && ln -s /../../.. /srv/root/up")
	wantPrinted(t, confined(t, s.conn, "grep -E '^CapBnd' /proc/self/status; touch /x 2>&1; mount -t tmpfs x /mnt 2>&1; id -u",
		"cap-drop=ALL", "no-new-privs", "read-only"),
		"CapBnd:\t0000000000000000\ntouch: /x: Read-only file system\nmount: permission denied (are you root?)\n0\n")
	own := []string{"root-dir=/srv/root", "pid=private", "network=private", "uts=private", "ipc=private"}
	wantPrinted(t, confined(t, s.conn, "echo /up/*; busybox ls /dev; echo $$; busybox hostname x && busybox hostname; busybox pwd", own...),
		"/up/bin /up/dev /up/proc /up/up\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n1\nx\n/\n")

	first := confined(t, s.conn, "busybox hostname inner; echo ready; exec busybox sleep 1000", own...)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(deadline(t, 4*stepLimit)); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	second := s.conn.ShellCommand("busybox cat /proc/1/comm; busybox hostname; echo /*; test $$ != 1")
	second.Confinement.Join(first.ID(), 0)
	wantPrinted(t, second, "busybox\ninner\n/bin /dev /proc /up\n")
	if err := first.SignalTree(deadline(t, stepLimit), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	first.Wait(deadline(t, stepLimit))

	_, err = confined(t, s.conn, "true", "root-dir=/srv/none").Run(deadline(t, stepLimit))
	failed, ok := errors.AsType[*client.StartError](err)
	if !ok || failed.Stage != framing.StageRoot || failed.Errno != syscall.ENOENT {
		t.Errorf("a root that is missing: %v, want stage %d, ENOENT", err, framing.StageRoot)
	}
	if got := run(t, s.conn, "hostname; cat /proc/1/comm; test -w / && echo writable; rm -r /srv/root"); !strings.HasSuffix(got, "\nvm-init\nwritable\n") || strings.HasPrefix(got, "inner") {
		t.Errorf("the machine has changed: %q", got)
	}
}
