package debian

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wick/cmd/wick/internal/cache"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// tools makes scripts the only programs in the PATH but the shell's own.
func tools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// working are tools that have the package wanted and know it as what name depends on.
func working(name, wanted string) map[string]string {
	return map[string]string{
		"apt-cache": `[ "$3" = ` + name + ` ] && printf '%s\n' ` + name + ` "  PreDepends: x" "  Depends: ` + wanted + `"`,
		"apt-get":   `for last; do :; done; echo "$last" >"$last"_1_amd64.deb`,
		"dpkg-deb":  `read -r wanted <"$2" && echo "$wanted" >"$3/unpacked"`,
	}
}

func TestUnpacked(t *testing.T) {
	for _, tt := range []struct{ name, depends, want string }{
		{"linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"},
		{"busybox-static", "libc6", "busybox-static"},
	} {
		tools(t, working(tt.name, tt.depends))
		dir := cache.Dir(t.TempDir())
		path, err := Unpacked(t.Context(), dir, tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if b, err := os.ReadFile(path + "/unpacked"); err != nil || strings.TrimSpace(string(b)) != tt.want {
			t.Errorf("%s: unpacked %q, %v; want %s", tt.name, b, err, tt.want)
		}
		// The second time nothing is asked.
		tools(t, nil)
		if again, err := Unpacked(t.Context(), dir, tt.name); err != nil || again != path {
			t.Errorf("%s: the second time it is %s, %v", tt.name, again, err)
		}
	}
}

func TestUnavailable(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"this host has no apt-get": func(m map[string]string) { delete(m, "apt-get") },
		"apt does not know it":     func(m map[string]string) { m["apt-cache"] = "echo 'E: No packages found' >&2; exit 100" },
		"apt-get download failed":  func(m map[string]string) { m["apt-get"] = "echo 'E: no network' >&2; exit 100" },
		"left 0 packages":          func(m map[string]string) { m["apt-get"] = "exit 0" },
	} {
		scripts := working("busybox-static", "libc6")
		change(scripts)
		tools(t, scripts)
		dir := cache.Dir(t.TempDir())
		_, err := Unpacked(t.Context(), dir, "busybox-static")
		if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		if left, _ := os.ReadDir(string(dir)); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}
