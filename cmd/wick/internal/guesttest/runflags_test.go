package guesttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunFlags runs machines with what a user mounts, and has files copied out. The second machine
// has the disk of the first.
func TestRunFlags(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	host := filepath.Join(w.dir, "host")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(host, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("host/below/file", "of the host\n")
	write("one", "a file\n")
	write("env", "# comment\nA=1\nB=file\n")
	write("drive", "drive"+strings.Repeat("\x00", 4091))
	const script = `cat /live/below/file /copy/below/file /etc/one
echo of the guest >/live/new; echo lost >/copy/new; echo no 2>/dev/null >/fixed/new || echo fixed
echo kept >/data/file; echo out >/scratch/out; mkdir /scratch/tree; echo tree >/scratch/tree/file
dd if=/dev/vdb bs=5 count=1 2>/dev/null; echo; no 2>/dev/null >/sbin/x || echo read-only
echo $A $B; hostname; ulimit -n; tail -n 1 /etc/hosts; nproc
grep -E " /(data|run/x|scratch|also) " /proc/mounts | cut -d" " -f2-4 | sed s/,inode64//; exit 7`
	got := w.run(7, "run", "-m", "192M", "--cpus", "1.5", "--tmpfs", "--tmpfs", "/scratch:size=1M,mode=1777", "--tmpfs", "/run",
		"-v", host+":/live", "-v", host+":/fixed:ro", "-v", host+":/copy:copy", "-v", filepath.Join(w.dir, "one")+":/etc/one",
		"--disk", "data:/data:64M", "--mount", "type=tmpfs,dst=/also,tmpfs-size=2M,ro", "--drive", filepath.Join(w.dir, "drive")+":ro:serial=mine",
		"--out", "/scratch/out:"+filepath.Join(w.dir, "got"), "--out", "/scratch/tree:"+w.dir, "--out", "/none:"+w.dir,
		"--env-file", filepath.Join(w.dir, "env"), "-e", "B=flag", "--hostname", "web", "--ulimit", "nofile=100:200", "--add-host", "db:10.9.8.7",
		"--read-only", "--init", "--rm", "--", "sh", "-c", script)
	want := `of the host
of the host
a file
fixed
drive
read-only
1 flag
web
100
10.9.8.7	db
2
/also tmpfs ro,nosuid,nodev,relatime,size=2048k
/data ext4 rw,relatime
/scratch tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k
`
	if got != want {
		t.Errorf("the first machine says\n%s, want\n%s", got, want)
	}
	for name, want := range map[string]string{"got": "out\n", "tree/file": "tree\n", "host/new": "of the guest\n"} {
		if got, err := os.ReadFile(filepath.Join(w.dir, name)); string(got) != want {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
		}
	}

	// The disk stays. One machine at a time has it.
	w.run(0, "run", "-d", "--name", "holder", "--tmpfs", "--disk", "data:/srv:128M", "--cidfile", filepath.Join(w.dir, "id"), "--", "sleep", "1000")
	if id, err := os.ReadFile(filepath.Join(w.dir, "id")); len(id) != 12 || err != nil {
		t.Errorf("the id in the file is %q, %v, want 12 digits", id, err)
	}
	if got := w.run(0, "exec", "holder", "sh", "-c", "cat /srv/file; df -m /srv | tail -n 1 | tr -s ' ' | cut -d' ' -f2"); !strings.HasPrefix(got, "kept\n1") {
		t.Errorf("the disk holds %q, want kept and more than 100 MiB", got)
	}
	w.run(125, "run", "--tmpfs", "-v", "data:/data", "--", "true")
	w.run(1, "volume", "rm", "data")
	w.run(0, "rm", "-f", "holder")
	w.run(0, "volume", "rm", "data")
	if got := w.run(0, "volume", "ls", "-q"); got != "" {
		t.Errorf("disks are left: %q", got)
	}
}
