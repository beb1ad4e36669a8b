package guesttest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"wick/framing/client"
)

// TestFullDisk fills the overlay disk to the last block. Requests that need space fail with that
// error, and no others do. The machine shuts down with a clean disk and boots with it again, so
// that space can be made.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.overlay = newOverlay(t, 16)
	v, conn := boot(t, l, c)
	put(t, conn, "/root/old", []byte("old"))
	run(t, conn, "dd if=/dev/zero of=/root/fill bs=64k 2>/dev/null; dd if=/dev/zero of=/root/fill2 bs=1k 2>/dev/null; true")
	content := bytes.Repeat([]byte("new"), 1<<20)
	err := conn.WriteFile(deadline(t, stepLimit), "/root/old", bytes.NewReader(content), int64(len(content)), client.WriteFileOptions{})
	if failed, ok := errors.AsType[*client.WriteFileError](err); !ok || !strings.Contains(failed.Reason, "no space left on device") {
		t.Errorf("write to a full disk: error %v", err)
	}
	if got := run(t, conn, "cat /root/old; ls -A /root"); got != "oldfill\nfill2\nold\n" {
		t.Errorf("a write that failed has left %q", got)
	}
	// There is no space for a spool file either.
	r := result(t, conn, client.Exec{Command: "head -c 3000000 /dev/zero; exit 3"})
	if r.ExitCode != 3 || len(r.Stdout) == 0 || !strings.Contains(string(r.Stderr), "[output truncated: ") {
		t.Errorf("exit code %d, %d bytes of stdout, stderr %q", r.ExitCode, len(r.Stdout), clip(r.Stderr))
	}
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, c.overlay)

	v, conn = boot(t, l, c)
	run(t, conn, "rm /root/fill")
	put(t, conn, "/root/old", content)
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/old"); got != string(content) {
		t.Errorf("on the disk there are %d bytes, want %d", len(got), len(content))
	}
}

// TestMemoryOverlay boots a machine without a disk for its writes. Its command line has words that
// are not for vm-init: one for the environment, and one without a meaning. At the end it is
// switched off instead of reset.
func TestMemoryOverlay(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.overlay, c.InitArgs = "", []string{"--overlay=tmpfs", "--tmpfs-size=8m", "--end=poweroff"}
	c.Cmdline = []string{"splash", "TZ=MARS-1"}
	v, conn := boot(t, l, c)
	put(t, conn, "/etc/hostname", []byte("changed\n"))
	r := result(t, conn, client.Exec{Command: "cat /etc/hostname; rm /etc/hosts; dd if=/dev/zero of=/fill bs=64k"})
	if r.ExitCode != 1 || string(r.Stdout) != "changed\n" || !strings.Contains(string(r.Stderr), "No space left on device") {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.ExitCode, clip(r.Stdout), clip(r.Stderr))
	}
	if _, err := conn.Ping(deadline(t, stepLimit)); err != nil {
		t.Error(err)
	}
	if got := run(t, conn, "date +%Z"); got != "MARS\n" {
		t.Errorf("the time zone is %q", got)
	}
	v.console.await(t, "info arguments ignored words=splash", 1)
	signal(t, conn, "INT")
	v.goneBy("guest-shutdown")
}
