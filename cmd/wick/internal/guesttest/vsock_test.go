package guesttest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"wick/framing/client"
)

// TestVsockTests runs the vsock tests of other packages in a guest. They need a vsock loopback,
// which few hosts have, and skip without one. In the guest a skip is a failure.
func TestVsockTests(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	c.Initramfs = l.loopback
	packages := []string{"wick/reactor", "wick/framing/client"}
	var programs [][]byte
	for _, pkg := range packages {
		programs = append(programs, testProgram(t, l.Kernel.Arch, pkg))
	}
	_, conn := boot(t, l, c)
	if l.Kernel.Modules == "" && run(t, conn, "grep -c vsock_loopback /proc/kallsyms || :") == "0\n" {
		t.Skip("the guest's kernel has no CONFIG_VSOCKETS_LOOPBACK: unset WICK_KERNEL")
	}
	for i, pkg := range packages {
		put(t, conn, "/root/test", programs[i])
		const command = "cd /root && chmod +x test && ./test -test.v -test.run Vsock 2>&1; " +
			"r=$?; rm test; exit $r"
		r := result(t, conn, client.Exec{Command: command})
		passed := bytes.Count(r.Stdout, []byte("--- PASS: "))
		skipped := bytes.Count(r.Stdout, []byte("--- SKIP: "))
		if r.ExitCode != 0 || passed == 0 || skipped > 0 {
			t.Errorf("%s: exit code %d, %d tests passed, %d skipped; want 0, some and none:\n%s",
				pkg, r.ExitCode, passed, skipped, r.Stdout)
		}
	}
}

// testProgram builds a package's tests for a guest.
func testProgram(t *testing.T, arch, pkg string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test")
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", cmd, err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
