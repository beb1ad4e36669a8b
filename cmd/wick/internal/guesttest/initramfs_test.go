package guesttest

import (
	"strings"
	"testing"

	"wick/framing/client"
)

// TestInitramfs boots a machine with vm-init in the initramfs. This is the kernel's first root,
// which cannot be replaced and stays, empty, under the overlay. At the end a fork bomb without a
// timeout runs. Ctrl-Alt-Del must end the machine, because a command may wait long for its share of
// the processor.
func TestInitramfs(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	l.stays(c)
	c.Keyboard = true
	c.CPUs = 2
	c.MemoryMiB = 256 // enough for 512 processes
	c.InitArgs = []string{"--hostname=stays", "--log-level=debug"}
	v, conn := boot(t, l, c)
	if got := run(t, conn, "grep -c ^processor /proc/cpuinfo"); got != "2\n" {
		t.Errorf("the machine has %q processors", got)
	}
	if got := run(t, conn, "hostname; cat /etc/hostname; readlink /proc/1/exe"); got != "stays\nwick\n"+initPath+" (deleted)\n" {
		t.Errorf("got %q", got)
	}
	v.console.await(t, "debug boot at=", 1)
	// There is one mount at /, seen from inside. A process that breaks out of the chroot finds the
	// old root empty.
	if got := run(t, conn, "grep -c ' / / ' /proc/self/mountinfo; grep ' / ' /proc/mounts"); !strings.HasPrefix(got, "1\noverlay / overlay ") {
		t.Errorf("mounts of the root: %q", got)
	}
	if got := run(t, conn, "ls -A /proc/1/root/../../ | grep -x -e modules -e busybox -e init; true"); got != "" {
		t.Errorf("of the initramfs there is %q", got)
	}
	run(t, conn, "echo kept >/root/last")

	r := result(t, conn, client.Exec{Command: bomb})
	t.Logf("the bomb's command ended with %d", r.ExitCode)
	if _, err := conn.Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	if err := v.CtrlAltDel(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	v.gone()
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/last"); got != "kept\n" {
		t.Errorf("on the disk there is %q", got)
	}
}
