package scripts_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// kernelFixture runs scripts/guest-kernel with a make that only takes note of what it is to build.
type kernelFixture struct {
	*testing.T
	dir, programs string
	env           []string
}

// stubs stand for what takes 16 minutes, and for the network.
var stubs = map[string]string{
	"flex": "exit 0", "bison": "exit 0", "bc": "exit 0",
	"make": `case $* in *vmlinux) ;; *) exit 0 ;; esac
cp /bin/true vmlinux
cat .config version >>"$LAB/built"
echo "the log's end" >&2
exec "$LAB/made"`,
	"curl": `echo "$*" >>"$LAB/asked"; exec "$LAB/network"`,
}

func newKernelLab(t *testing.T) *kernelFixture {
	if _, err := exec.LookPath("gcc"); err != nil {
		lacking(t, "gcc", "gcc libc6-dev")
	}
	l := &kernelFixture{T: t, dir: t.TempDir()}
	l.programs = filepath.Join(l.dir, "programs")
	for name, script := range stubs {
		l.program("programs/"+name, script)
	}
	l.program("made", "exit 0")
	l.program("network", "exit 6")
	l.write("include/libelf.h", "")
	l.write("include/openssl/opensslv.h", "")
	l.write("one.config", "CONFIG_A=1\n")
	l.write("two.config", "CONFIG_A=2\n")
	l.source("linux.tar", "first")
	l.env = append(os.Environ(), "LC_ALL=C", "LAB="+l.dir, "CPATH="+filepath.Join(l.dir, "include"),
		"XDG_CACHE_HOME="+filepath.Join(l.dir, "cache"), "PATH="+l.programs+":"+os.Getenv("PATH"))
	return l
}

func (l *kernelFixture) write(name, content string) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		l.Fatal(err)
	}
}

func (l *kernelFixture) program(name, script string) {
	l.Helper()
	l.write(name, "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(filepath.Join(l.dir, name), 0o755); err != nil {
		l.Fatal(err)
	}
}

// source makes a tar of a source of that version.
func (l *kernelFixture) source(name, version string) {
	l.Helper()
	l.write("linux-source/version", version+"\n")
	output(l.T, l.dir, nil, "tar", "-cf", name, "linux-source")
}

func (l *kernelFixture) start(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	script, err := filepath.Abs("scripts/guest-kernel")
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.CommandContext(l.Context(), script, args...)
	cmd.Dir, cmd.Env = l.dir, l.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	return cmd, &stdout, &stderr
}

// built wants a kernel's path.
func (l *kernelFixture) built(args ...string) string {
	l.Helper()
	cmd, stdout, stderr := l.start(args...)
	if err := cmd.Wait(); err != nil {
		l.Fatalf("guest-kernel %q: %v\n%s", args, err, stderr)
	}
	path, rest, _ := strings.Cut(stdout.String(), "\n")
	cache := filepath.Join(l.dir, "cache/wick")
	if _, err := os.Stat(path); err != nil || rest != "" || filepath.Dir(path) != cache {
		l.Fatalf("guest-kernel %q prints %q, %v; want the path of a file in the cache", args, stdout, err)
	}
	return path
}

// fails wants an exit code and an error that says all of want, and an unchanged cache but for
// locks.
func (l *kernelFixture) fails(code int, want []string, args ...string) {
	l.Helper()
	before := l.cached()
	cmd, stdout, stderr := l.start(args...)
	err := cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != code || stdout.Len() > 0 {
		l.Errorf("guest-kernel %q: %v, stdout %q; want exit code %d\n%s", args, err, stdout, code, stderr)
	}
	for _, text := range want {
		if !strings.Contains(stderr.String(), text) {
			l.Errorf("guest-kernel %q says\n%s\nwant %q", args, stderr, text)
		}
	}
	if after := l.cached(); after != before {
		l.Errorf("guest-kernel %q: in the cache there is %q, and before it was %q", args, after, before)
	}
}

func (l *kernelFixture) cached() string {
	var names []string
	all, _ := filepath.Glob(filepath.Join(l.dir, "cache/wick/*"))
	for _, path := range all {
		if !strings.HasSuffix(path, ".lock") {
			names = append(names, filepath.Base(path))
		}
	}
	return strings.Join(names, " ")
}

// wantBuilt wants the configurations and the versions that were built so far, in their order.
func (l *kernelFixture) wantBuilt(want string) {
	l.Helper()
	got, _ := os.ReadFile(filepath.Join(l.dir, "built"))
	if strings.ReplaceAll(string(got), "\n", " ") != want {
		l.Errorf("built %q, want %q", got, want)
	}
}

// TestGuestKernelCache builds a kernel once for what it is made from.
func TestGuestKernelCache(t *testing.T) {
	t.Parallel()
	l := newKernelLab(t)
	source := "--source=linux.tar"
	var all sync.WaitGroup
	paths := make([]string, 3)
	for i := range paths { // at once
		all.Go(func() {
			cmd, stdout, stderr := l.start(source, "one.config", "two.config")
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, stderr)
			}
			paths[i] = strings.TrimSpace(stdout.String())
		})
	}
	all.Wait()
	const first = "CONFIG_A=1 CONFIG_A=2 first "
	l.wantBuilt(first)
	for _, path := range paths {
		if again := l.built(source, "one.config", "two.config"); path != again {
			t.Errorf("built %q, and found %q later", path, again)
		}
	}
	l.write("copy.config", "CONFIG_A=2\n")
	if copied := l.built(source, "one.config", "copy.config"); copied != paths[0] {
		t.Errorf("of files with the same content %q is built, want %q", copied, paths[0])
	}
	l.wantBuilt(first)
	if other := l.built(source, "two.config", "one.config"); other == paths[0] {
		t.Error("the order of the configurations makes no difference")
	}
	l.source("linux.tar", "second")
	if other := l.built("--source", "linux.tar", "one.config", "two.config"); other == paths[0] {
		t.Error("the source makes no difference")
	}
	l.wantBuilt(first + "CONFIG_A=2 CONFIG_A=1 first CONFIG_A=1 CONFIG_A=2 second ")
}

// TestGuestKernelFails has something missing each time. The error names it and the remedy, and
// nothing is left behind.
func TestGuestKernelFails(t *testing.T) {
	t.Parallel()
	l := newKernelLab(t)
	source := "--source=linux.tar"
	l.fails(2, []string{"scripts/guest-kernel [--source TAR]"}, "--sauce=x")
	l.fails(2, []string{"scripts/guest-kernel [--source TAR]"}, "--source")
	noSource := []string{"read no.tar: no Linux source", "apt-get install linux-source-6.1"}
	l.fails(1, noSource, "--source=no.tar", "one.config")
	l.fails(1, []string{"read no.config: no such file"}, source, "one.config", "no.config")

	const fetch = "fetch microvm-kernel-ci-x86_64-6.1.config from https://"
	l.fails(1, []string{fetch, "exit code 6; give Firecracker's files as CONFIG"}, source)
	l.program("network", "echo CONFIG_A=3")
	l.fails(1, []string{fetch, "its sha256 is not adbc70ab"}, source)
	asked, err := os.ReadFile(filepath.Join(l.dir, "asked"))
	const url = "/firecracker/2038188f145fb81b8d098147a10e9d9f392fd22f/resources/guest_configs/microvm-kernel-ci"
	if err != nil || !strings.Contains(string(asked), url) {
		t.Errorf("asked for %q, %v; want %q in it", asked, err, url)
	}

	l.program("made", "exit 3")
	failed := []string{"the log's end\n", "build a kernel: the last lines of its log are above"}
	l.fails(1, failed, source, "one.config")
	if err := os.Remove(filepath.Join(l.dir, "include/libelf.h")); err != nil {
		t.Fatal(err)
	}
	l.env = append(l.env, "CPATH="+filepath.Join(l.dir, "include")+":/nowhere")
	if _, err := os.Stat("/usr/include/libelf.h"); err != nil {
		l.fails(1, []string{"missing packages; as root: apt-get install libelf-dev"},
			source, "one.config")
	}
	only := filepath.Join(l.dir, "only")
	if err := os.Mkdir(only, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq("sh uname sha256sum cut sed cat gcc ld perl xz flock") {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(only, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.env = append(l.env, "PATH="+only)
	l.fails(1, []string{"apt-get install make flex bison bc"}, source, "one.config")
}

// TestGuestKernelHelp wants the options explained.
func TestGuestKernelHelp(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"-h", "--help"} {
		help := output(t, ".", nil, "scripts/guest-kernel", arg)
		if !strings.Contains(help, "[--source TAR] [CONFIG...]") || strings.Contains(help, "set -eu") {
			t.Errorf("guest-kernel %s prints\n%s", arg, help)
		}
	}
}
