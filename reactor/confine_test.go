package reactor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// confined is a command of /bin/sh with a confinement. It skips the test if this process may not
// make a mount namespace.
func confined(t *testing.T, script string, c Confinement) *Command {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("run the tests as root")
	}
	cmd := shell(t, script)
	if c.Umask == 0 {
		c.Umask = -1
	}
	cmd.Confinement = &c
	return cmd
}

// bindTools returns the changes that give a root the programs of this machine.
func bindTools() (list []Change) {
	for _, dir := range []string{"/bin", "/usr", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			list = append(list, Change{Source: dir, Target: dir, Flags: unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, MakeDirectory: true})
		}
	}
	return list
}

// TestConfineNamespaces holds that a child has the namespaces that it is given. It is process 1,
// has a host name and a /proc of its own, and its interface lo is up. Its end is that of every
// process in its pid namespace.
func TestConfineNamespaces(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		cmd := confined(t, `set -- /proc/[0-9]*; echo $$ $# $(cat /proc/sys/kernel/hostname) $(cat /sys/class/net/lo/flags); cat /proc/sys/kernel/shmmni; umask`, Confinement{
			Namespaces: all, Host: "inner", Umask: 0o27,
			Sysctls: []Sysctl{{"/proc/sys/kernel/shmmni", "17"}},
			Changes: []Change{
				{Source: "proc", Target: "/proc", Type: "proc", Flags: unix.MS_NOSUID},
				{Source: "sysfs", Target: "/sys", Type: "sysfs", Flags: unix.MS_RDONLY},
			},
		})
		if got, want := besides(t, l, cmd), "1 1 inner 0x9\n17\n0027\n"; got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
		cmd.Args[2], cmd.Files = "sleep 1000 & exit 7", shell(t, "").Files
		if status := run(t, l, cmd); status.ExitStatus() != 7 {
			t.Errorf("status %#x, want exit 7", status)
		}
		if name, _ := os.Hostname(); name == "inner" {
			t.Error("the host name of this machine has changed")
		}
	})
}

// TestConfineRoot builds a root of nothing but mounts, devices and links. Links in it do not lead
// out of it, and what is below the old root cannot be seen.
func TestConfineRoot(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	dir := t.TempDir()
	for _, name := range []string{"root", "data/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(dir+"/data/file", []byte("in data\n"), 0o644)
	os.Symlink("../../..", dir+"/root/out") // a target below it stays in the root
	os.Symlink("/etc/shadow", dir+"/data/link")
	c := Confinement{
		Namespaces: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Root: dir + "/root", ReadOnly: true,
		Changes: append(bindTools(),
			Change{Source: "proc", Target: "/proc", Type: "proc", MakeDirectory: true},
			Change{Source: "tmpfs", Target: "/dev", Type: "tmpfs", Option: "mode=755", MakeDirectory: true},
			Change{Kind: ChangeDevice, Target: "/dev/null", Mode: unix.S_IFCHR | 0o666, Device: unix.Mkdev(1, 3)},
			Change{Kind: ChangeLink, Source: "/proc/self/fd", Target: "/dev/fd"},
			Change{Source: dir + "/data", Target: "/out/data", Flags: unix.MS_BIND | unix.MS_RDONLY, MakeDirectory: true},
			Change{Source: dir + "/data/file", Target: "/run/one/file", Flags: unix.MS_BIND, MakeFile: true},
			Change{Source: "tmpfs", Target: "/tmp", Type: "tmpfs", MakeDirectory: true},
			Change{Kind: ChangeReadOnly, Target: "/proc/sys"},
			Change{Kind: ChangeReadOnly, Target: "/nowhere/at/all"},
			Change{Kind: ChangeMask, Target: "/proc/version"},
			Change{Kind: ChangeMask, Target: "/proc/irq"},
			Change{Kind: ChangeMask, Target: "/nowhere/at/all"},
		),
	}
	got := printed(t, l, confined(t, `exec 2>&1
		echo $$ *; cat data/file run/one/file; cat data/link
		echo x > /data/file; mkdir /made; echo 1 > /proc/sys/kernel/panic; echo yes > /tmp/x && cat /tmp/x
		wc -c < /proc/version; ls /proc/irq | wc -l; ls -l /dev/null | cut -c1-10; readlink /dev/fd; umask
		echo y > /run/one/file; pwd`, c))
	want := `1 bin data dev lib lib64 out proc run tmp usr
in data
in data
cat: data/link: No such file or directory
sh: 3: cannot create /data/file: Read-only file system
mkdir: cannot create directory '/made': Read-only file system
sh: 3: cannot create /proc/sys/kernel/panic: Read-only file system
yes
0
0
crw-rw-rw-
/proc/self/fd
0022
/`
	got = strings.ReplaceAll(strings.ReplaceAll(got, "‘", "'"), "’", "'")
	if got != want {
		t.Errorf("printed:\n%s\nwant:\n%s", got, want)
	}
	if text, _ := os.ReadFile(dir + "/data/file"); string(text) != "y\n" {
		t.Errorf("the file bound read-write has %q", text)
	}
	if _, err := os.Stat(dir + "/data/deep/data"); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestConfineReadOnlyRoot holds that the root of this machine is read-only for the child alone, and
// that the child keeps its directory.
func TestConfineReadOnlyRoot(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	dir := t.TempDir()
	cmd := confined(t, `pwd; test -w / || echo read-only; mkdir /wick-made 2>/dev/null || echo refused; echo z > /wick/deep/file && cat /wick/deep/file`, Confinement{
		Namespaces: unix.CLONE_NEWNS, ReadOnly: true,
		Changes: []Change{{Source: "tmpfs", Target: "/mnt", Type: "tmpfs"}, {Source: "tmpfs", Target: "/mnt/deep", Type: "tmpfs", MakeDirectory: true}},
	})
	cmd.Args[2] = strings.ReplaceAll(cmd.Args[2], "/wick/", "/mnt/")
	cmd.Dir = dir
	if got := printed(t, l, cmd); got != dir+"\nread-only\nrefused\nz" {
		t.Errorf("printed %q", got)
	}
}

const (
	capChown        = 0
	capNetRaw       = 13
	capNetBind      = 10
	allCapabilities = 1<<64 - 1
)

// TestConfineCapabilities holds that the child has the capabilities that it is given, also as
// another user, and no_new_privs.
func TestConfineCapabilities(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	const show = `sed -n 's/^\(Cap...\|NoNewPrivs\|Uid\):\t/\1 /p' /proc/self/status | tr '\t\n' ' ;'`
	const bit = 1<<capNetRaw | 1<<capNetBind
	for _, test := range []struct {
		name string
		c    Confinement
		user *User
		want []string
	}{
		{"dropped", Confinement{Dropped: allCapabilities &^ (1 << capChown)}, nil, []string{
			"CapPrm 0000000000000001", "CapEff 0000000000000001", "CapBnd 0000000000000001", "NoNewPrivs 0"}},
		{"none", Confinement{Dropped: allCapabilities, NoNewPrivileges: true}, nil, []string{
			"CapPrm 0000000000000000", "CapBnd 0000000000000000", "NoNewPrivs 1"}},
		{"ambient", Confinement{
			Dropped: allCapabilities &^ bit, Capabilities: &Capabilities{bit, bit, bit, bit}, NoNewPrivileges: true,
		}, &User{UID: 1234, GID: 1234}, []string{
			"CapInh 0000000000002400", "CapPrm 0000000000002400", "CapEff 0000000000002400", "CapAmb 0000000000002400", "Uid 1234"}},
		{"user", Confinement{Dropped: allCapabilities &^ bit}, &User{UID: 1234, GID: 1234}, []string{
			"CapPrm 0000000000000000", "CapBnd 0000000000002400"}},
	} {
		cmd := confined(t, show, test.c)
		cmd.User = test.user
		got := printed(t, l, cmd)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q has no %q", test.name, got, want)
			}
		}
	}
}

// denyMkdir is a filter that answers EPERM to mkdir and mkdirat, of any architecture.
func denyMkdir(deny ...uint32) []byte {
	var b []byte
	add := func(code uint16, jt, jf byte, k uint32) {
		b = append(b, byte(code), byte(code>>8), jt, jf, byte(k), byte(k>>8), byte(k>>16), byte(k>>24))
	}
	add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, 0)
	for _, number := range deny {
		add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, number)
		add(unix.BPF_RET|unix.BPF_K, 0, 0, 0x00050000|uint32(unix.EPERM)) // SECCOMP_RET_ERRNO
	}
	add(unix.BPF_RET|unix.BPF_K, 0, 0, 0x7fff0000) // SECCOMP_RET_ALLOW
	return b
}

// TestConfineFilter holds that a filter is in effect with no_new_privs and without, and that a
// child whose failure it hides still ends.
func TestConfineFilter(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	mkdirs := []uint32{unix.SYS_MKDIRAT, 83 /* mkdir of amd64 */}
	for _, sealed := range []bool{false, true} {
		c := Confinement{Filter: denyMkdir(mkdirs...), NoNewPrivileges: sealed}
		cmd := confined(t, `mkdir "$1" 2>&1 | grep -o 'Operation not permitted'; sed -n 's/^Seccomp:.//p' /proc/self/status`, c)
		cmd.Args = append(cmd.Args, t.TempDir()+"/d")
		cmd.User = &User{UID: 0, GID: 0}
		if got := printed(t, l, cmd); got != "Operation not permitted\n2" {
			t.Errorf("no_new_privs %v: printed %q", sealed, got)
		}
		cmd = confined(t, "", Confinement{Filter: denyMkdir(unix.SYS_EXECVE, unix.SYS_EXIT_GROUP), NoNewPrivileges: sealed})
		var c2 Child
		var status unix.WaitStatus
		if err := l.Spawn(&c2, cmd, exitedFunc(func(s unix.WaitStatus) { status = s })); err != nil {
			t.Fatal(err)
		}
		until(t, l, "the exit", func() bool { return !c2.Running() })
		if err := c2.Failure(); !errors.Is(err, unix.EPERM) || !status.Signaled() {
			t.Errorf("with a filter of execve and exit_group: %v, status %#x", err, status)
		}
	}
}

// TestConfineFailures holds that each failure names its stage and what it is about.
func TestConfineFailures(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		long := t.TempDir()
		bad := denyMkdir()
		bad[0] = 0xff
		for _, test := range []struct {
			c    Confinement
			want string
		}{
			{Confinement{Namespaces: unix.CLONE_NEWNS, Root: long + "/missing"}, "pivot_root " + long + "/missing: no such file or directory"},
			{Confinement{Namespaces: unix.CLONE_NEWNS, Root: "/etc/passwd"}, "pivot_root /etc/passwd: not a directory"},
			{Confinement{Namespaces: unix.CLONE_NEWNS, Changes: []Change{{Source: "x", Target: "/mnt", Type: "no such type"}}}, "mount /mnt: no such device"},
			{Confinement{Namespaces: unix.CLONE_NEWNS, Changes: []Change{{Source: "tmpfs", Target: "/mnt", Type: "tmpfs"}, {Source: "/nothing", Target: "/mnt/x", Flags: unix.MS_BIND}}}, "mount /mnt/x: no such file or directory"},
			{Confinement{Namespaces: 0x1}, "namespace process: invalid argument"},
			{Confinement{Capabilities: &Capabilities{Ambient: 1 << 63}}, "capabilities process: invalid argument"},
			{Confinement{Filter: bad, NoNewPrivileges: true}, "seccomp process: invalid argument"},
			{Confinement{Join: 1 << 20, Joined: unix.CLONE_NEWNS}, "namespace process: bad file descriptor"},
		} {
			if err := fails(t, l, confined(t, "exit 0", test.c)); err == nil || err.Error() != test.want {
				t.Errorf("%+v: %v, want %s", test.c, err, test.want)
			}
		}
		if got := printed(t, l, shell(t, "echo still")); got != "still" {
			t.Errorf("after failures: %q", got)
		}
	})
}

// TestConfineJoin starts a child in the namespaces of another. It is in its root and pid namespace,
// and dies with its process 1. This process stays in its own.
func TestConfineJoin(t *testing.T) {
	ways(t, func(t *testing.T, l *Loop) {
		const own = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC
		root := t.TempDir()
		first := confined(t, "", Confinement{Namespaces: own, Host: "joined", Root: root, Changes: append(bindTools(),
			Change{Source: "proc", Target: "/proc", Type: "proc", MakeDirectory: true})})
		first.Path, first.Args, first.Tell = "/bin/sleep", []string{"sleep", "1000"}, true
		var c Child
		started, ended := false, false
		h := &startFuncs{started: func() { started = true }, exited: func(unix.WaitStatus) { ended = true }}
		if err := l.Spawn(&c, first, h); err != nil {
			t.Fatal(err)
		}
		until(t, l, "the start", func() bool { return started || ended })
		join := Confinement{Join: c.Pidfd(), Joined: own}
		cmd := confined(t, "cat /proc/1/comm /proc/sys/kernel/hostname; pwd; ls -d /bin /etc 2>&1 | wc -l; test $$ != 1 && echo not 1", join)
		if got := besides(t, l, cmd); got != "sleep\njoined\n/\n2\nnot 1\n" {
			t.Errorf("printed %q", got)
		}
		got := besides(t, l, shell(t, "cat /proc/1/comm; hostname"))
		if strings.HasPrefix(got, "sleep") || strings.Contains(got, "joined") {
			t.Errorf("the next child printed %q", got)
		}
		var in Child
		inStarted, inEnded := false, false
		second := confined(t, "sleep 1000", join)
		second.Tell = true
		h = &startFuncs{started: func() { inStarted = true }, exited: func(s unix.WaitStatus) {
			if inEnded = true; s.Signal() != unix.SIGKILL {
				t.Errorf("status %#x, want SIGKILL", s)
			}
		}}
		if err := l.Spawn(&in, second, h); err != nil {
			t.Fatal(err)
		}
		until(t, l, "the second start", func() bool { return inStarted || inEnded })
		c.Signal(unix.SIGKILL)
		until(t, l, "the ends", func() bool { return ended && inEnded })
	})
}

// besides returns the output of a command while other children run.
func besides(t *testing.T, l *Loop, cmd *Command) string {
	t.Helper()
	out := t.TempDir() + "/out"
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Files[1], cmd.Files[2] = int(f.Fd()), int(f.Fd())
	var c Child
	if err := l.Spawn(&c, cmd, exitedFunc(func(unix.WaitStatus) {})); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the exit", func() bool { return !c.Running() })
	if err := c.Failure(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestConfineSize holds that the image of a long confinement is long enough.
func TestConfineSize(t *testing.T) {
	t.Parallel()
	l := newLoop(t, 0)
	deep := strings.Repeat("/d", 500)
	c := Confinement{
		Namespaces: unix.CLONE_NEWNS, Dropped: allCapabilities, NoNewPrivileges: true,
		Changes: []Change{{Source: "tmpfs", Target: "/mnt", Type: "tmpfs", Option: strings.Repeat("size=1m,", 100) + "mode=755"}},
		Filter:  []byte(strings.Repeat(string([]byte{unix.BPF_LD | unix.BPF_IMM, 0, 0, 0, 0, 0, 0, 0}), 4095) + string([]byte{unix.BPF_RET | unix.BPF_K, 0, 0, 0, 0, 0, 0xff, 0x7f})),
	}
	for range 50 {
		c.Changes = append(c.Changes, Change{Source: strings.Repeat("s", 3000), Target: "/mnt" + deep, Type: "tmpfs", MakeDirectory: true}, Change{Kind: ChangeMask, Target: "/mnt" + deep + "/none"})
	}
	for i := range c.Changes[1:] {
		if c.Changes[i+1].Kind == ChangeMount {
			c.Changes[i+1] = Change{Kind: ChangeDevice, Target: c.Changes[i+1].Target + "/null", Mode: unix.S_IFCHR | 0o600, Device: unix.Mkdev(1, 3)}
		}
	}
	if got := printed(t, l, confined(t, "ls /mnt"+deep, c)); got != "null" {
		t.Errorf("printed %q, want null", got)
	}
}
