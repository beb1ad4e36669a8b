package scripts_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOtherHosts builds the host's library and its tool for hosts that run no machines themselves.
func TestOtherHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"darwin/arm64", "windows/amd64"} {
		system, arch, _ := strings.Cut(host, "/")
		// A release is compiled in the same way, so this serves both.
		build := exec.Command("go", "build", "-trimpath", "-o", t.TempDir()+"/", "./framing/...", "./cmd/wick")
		build.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("%v for %s: %v\n%s", build.Args, host, err, out)
		}
		// The tool says which commands need Linux, so none of the packages for machines is in it.
		list := exec.Command("go", "list", "-deps", "./cmd/wick")
		list.Env = build.Env
		out, err := list.Output()
		if err != nil {
			t.Errorf("%v for %s: %v", list.Args, host, err)
		}
		for _, room := range []string{"keeper", "machine", "vmm", "oci", "kernel"} {
			if strings.Contains(string(out), "wick/cmd/wick/internal/"+room+"\n") {
				t.Errorf("%s: the tool imports %s, which needs Linux", host, room)
			}
		}
	}
}
