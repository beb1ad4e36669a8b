package guesttest

import (
	"strings"
	"testing"

	"wick/framing/client"
)

// change changes the root like programs do. It makes and deletes files, changes content and modes,
// renames a directory of the image, and deletes and makes another again.
const change = `
set -e
mkdir /srv /srv/deep; echo new >/srv/deep/file
ln /srv/deep/file /srv/link; ln -s deep/file /srv/symlink
seq 200000 >/srv/large
rm /etc/hostname
echo 10.0.0.1 added >>/etc/hosts
chmod 600 /etc/os-release
mv /var /var.moved
rm -r /home; mkdir /home; touch /home/only
mknod /srv/null c 1 3
touch /srv/deleted; rm /srv/deleted`

// changed prints the results of change.
const changed = `
cat /srv/deep/file /srv/symlink; stat -c '%n %h' /srv/link; tail -n 1 /srv/large
ls /etc/hostname 2>&1; cat /etc/hosts; stat -c '%n %a' /etc/os-release; head -c 7 /etc/os-release; echo
ls -d /var.moved; ls /var.moved; ls /home; ls /srv
stat -c '%n %F %t,%T' /srv/null`

const wantChanged = `new
new
/srv/link 2
200000
ls: /etc/hostname: No such file or directory
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
ff00::0	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
127.0.1.1	wick
10.0.0.1 added
/etc/os-release 600
ID=wick
/var.moved
log
tmp
only
deep
large
link
null
symlink
/srv/null character special file 1,3
`

// TestOverlay changes the root, boots again with the same disk, and must find the changes. The
// image must not change. Ctrl-Alt-Del ends the first boot, and a power cut the second.
func TestOverlay(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	before := sum(t, l.Root.Path)
	c := usual(t, l)
	c.Keyboard = true
	look := func(conn *client.Client) {
		t.Helper()
		if got := run(t, conn, changed+"; true"); got != wantChanged {
			t.Errorf("the root has\n%s\nwant\n%s", got, wantChanged)
		}
	}

	v, conn := boot(t, l, c)
	run(t, conn, change)
	look(conn)
	// The command gets SIGTERM only, so that its trap runs.
	ends := terminated(t, conn, "trap 'exit 7' TERM; trap 'exit 8' INT; while :; do sleep 0.1; done", 7)
	stopped := terminated(t, conn, "trap 'exit 7' TERM; kill -STOP $$; while :; do sleep 0.1; done", 7)
	run(t, conn, "echo one >/root/last")
	if err := v.CtrlAltDel(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	ends()
	stopped()
	v.gone()
	v.console.await(t, "info ending signal=SIGINT", 1)
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/last"); got != "one\n" {
		t.Errorf("on the disk there is %q", got)
	}
	// The disk has the new name of a renamed directory and its old place, but not its files.
	if out, err := e2fs(t, "debugfs", "-R", "ls -p /upper/var.moved", c.overlay); err != nil || strings.Contains(out, "/log/") {
		t.Errorf("the renamed directory was copied: %v\n%s", err, out)
	}

	v, conn = boot(t, l, c)
	look(conn)
	if got := run(t, conn, "cat /root/last"); got != "one\n" {
		t.Errorf("the file that was written just before the end is %q", got)
	}
	run(t, conn, "echo two >/root/last")
	signal(t, conn, "PWR")
	v.gone()
	v.console.await(t, "info ending signal=SIGPWR", 1)
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/last"); got != "two\n" {
		t.Errorf("on the disk there is %q", got)
	}
	if after := sum(t, l.Root.Path); after != before {
		t.Errorf("the root image has changed: %s, was %s", after, before)
	}
}
