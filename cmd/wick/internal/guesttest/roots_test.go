package guesttest

import (
	"archive/tar"
	"bytes"
	"os"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
)

// exported returns a root as docker export writes it. Files that a container runtime provides are
// empty, and daemons depend on the contents of /run.
func exported(t *testing.T, l *fixture) string {
	t.Helper()
	busybox, err := image.Busybox(deadline(t, stepLimit), l.Store, l.Kernel.Arch)
	machinetest.Need(t, err)
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content string) {
		t.Helper()
		h.Size = int64(len(content))
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const dir, regular, link = tar.TypeDir, tar.TypeReg, tar.TypeSymlink
	add(tar.Header{Typeflag: regular, Name: "bin/busybox", Mode: 0o755}, string(program))
	for _, applet := range []string{"sh", "cat", "hostname", "ping", "stat", "su", "touch"} {
		add(tar.Header{Typeflag: link, Name: "bin/" + applet, Linkname: "busybox"}, "")
	}
	add(tar.Header{Typeflag: regular, Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/:/bin/sh\nmysql:x:101:102::/:/bin/sh\n")
	for _, name := range []string{"etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"} {
		add(tar.Header{Typeflag: regular, Name: name, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: dir, Name: "tmp/", Mode: 0o755}, "")
	add(tar.Header{Typeflag: dir, Name: "run/", Mode: 0o755}, "")
	add(tar.Header{Typeflag: dir, Name: "run/mysqld/", Mode: 0o2775, Uid: 101, Gid: 102}, "")
	add(tar.Header{Typeflag: regular, Name: "run/mysqld/conf", Mode: 0o640, Uid: 101, Gid: 102}, "conf\n")
	add(tar.Header{Typeflag: link, Name: "var/run", Linkname: "/run"}, "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file(t, b.Bytes())
}

// TestExportedRoot boots the output of docker export without a host name. Names must resolve, and a
// daemon's user must be able to do what the daemon does at its start.
func TestExportedRoot(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	root, err := image.Build(deadline(t, bootLimit), l.Store, l.Kernel.Arch, exported(t, l), file(t, l.init))
	machinetest.Need(t, err)
	c := usual(t, l)
	c.Drives[0].Path = root.Path
	v, conn := boot(t, l, c)
	const look = `
hostname; cat /etc/hostname; stat -c '%n %a %u:%g' /tmp /run /run/mysqld /run/mysqld/conf /run/lock /dev/mqueue
for name in localhost $(hostname) ip6-loopback; do ping -c 1 -q $name >/dev/null || echo "ping $name: $?"; done
su mysql -c 'echo 1 >/var/run/mysqld/pid && cat /run/mysqld/conf && touch /tmp/x && stat -c %G:%U /run/mysqld/pid'`
	want := `localhost
localhost
/tmp 1777 0:0
/run 755 0:0
/run/mysqld 2775 101:102
/run/mysqld/conf 640 101:102
/run/lock 1777 0:0
/dev/mqueue 1777 0:0
conf
UNKNOWN:mysql
`
	if got := run(t, conn, look); got != want {
		t.Errorf("the root has\n%s\nwant\n%s", got, want)
	}
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/etc/hostname"); got != "localhost\n" {
		t.Errorf("on the disk there is %q", got)
	}
}
