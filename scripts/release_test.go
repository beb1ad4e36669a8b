package scripts_test

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// lacking skips the test if a program or file is missing, or fails it where nothing may be skipped.
func lacking(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if _, err := os.Stat(program); err == nil && filepath.IsAbs(program) {
		return
	}
	if reason := "no " + program + " on this host (as root: apt-get install " + debian + ")"; os.Getenv("CI") != "" {
		t.Fatal(reason)
	} else {
		t.Skip(reason)
	}
}

// output runs a program in a directory with additions to its environment, and returns its stdout
// and stderr.
func output(t *testing.T, dir string, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), env...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, said)
	}
	return string(said)
}

// released makes a release of version 1.2.3 from a copy of the module, and returns the directory of
// the results.
func released(t *testing.T) string {
	t.Helper()
	copied := t.TempDir()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "dist"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(copied, path), 0o755)
		case !d.Type().IsRegular(): // the .git of a work tree is a file, which is left out below
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil || path == ".git" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(copied, path), content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"SOURCE_DATE_EPOCH=1700000000", "MAINTAINER=Wick <wick@example.org>", "TMPDIR=" + t.TempDir()}
	output(t, copied, env, "scripts/release", "1.2.3")
	return filepath.Join(copied, "dist/release")
}

// TestRelease makes a release twice, in different directories, and installs the package for this
// host.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("makes two releases, which takes a minute: run without -short")
	}
	lacking(t, "dpkg-deb", "dpkg")
	lacking(t, "zip", "zip")
	one, two := released(t), released(t)
	sums := output(t, one, nil, "cat", "SHA256SUMS")
	if again := output(t, two, nil, "cat", "SHA256SUMS"); sums != again {
		t.Errorf("the two have other bytes:\n%s\n%s", sums, again)
	}
	if n := strings.Count(sums, "\n"); n != 16 {
		t.Errorf("%d files, want an archive, a package and three bills of material for each architecture, and an archive and one bill for each of three other hosts:\n%s", n, sums)
	}
	output(t, one, nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	t.Run("other hosts", func(t *testing.T) { otherHosts(t, one) })
	t.Run("bill of material", func(t *testing.T) { billOfMaterial(t, one) })
	t.Run("lintian", func(t *testing.T) {
		lacking(t, "lintian", "lintian")
		for _, arch := range []string{"amd64", "arm64"} {
			if said := output(t, one, nil, "lintian", "--allow-root", "--fail-on=error,warning", "wick_1.2.3_"+arch+".deb"); said != "" {
				t.Error(said)
			}
		}
	})
	root := t.TempDir()
	deb := filepath.Join(one, "wick_1.2.3_"+runtime.GOARCH+".deb")
	if os.Geteuid() != 0 {
		output(t, root, nil, "dpkg-deb", "-x", deb, root)
	} else {
		// The packages it recommends are missing, and it must depend on no others. Small hosts are
		// configured to leave manuals out.
		output(t, root, nil, "sh", "-c", "mkdir -p var/lib/dpkg/info var/lib/dpkg/updates && : >var/lib/dpkg/status && : >var/lib/dpkg/available")
		output(t, root, []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}, "dpkg", "--root="+root, "--path-include=*", "--install", deb)
	}
	t.Run("wick", func(t *testing.T) {
		if said := output(t, root, nil, "usr/bin/wick", "--version"); said != "wick 1.2.3\n" {
			t.Errorf("it is %q", said)
		}
		for _, command := range []string{"vm-init", "vsock-agent"} {
			if _, err := os.Stat(filepath.Join(root, "usr/lib/wick", command)); err != nil {
				t.Errorf("wick run does not find it: %v", err)
			}
		}
	})
	t.Run("manual", func(t *testing.T) { manual(t, filepath.Join(root, "usr/share/man/man1")) })
	t.Run("completion", func(t *testing.T) {
		const library = "/usr/share/bash-completion/bash_completion"
		lacking(t, library, "bash-completion")
		said := output(t, root, []string{"PATH=" + root + "/usr/bin:" + os.Getenv("PATH")}, "bash", "-c", `
			. `+library+`
			. usr/share/bash-completion/completions/wick
			COMP_WORDS=(wick ru) COMP_CWORD=1 COMP_LINE="wick ru" COMP_POINT=7 COMP_TYPE=9
			complete -p wick && __start_wick 2>/dev/null && echo "${COMPREPLY[@]}"`)
		if strings.TrimSpace(said) != "complete -o default -F __start_wick wick\nrun" {
			t.Errorf("wick ru is completed to %q", said)
		}
	})
}

// otherHosts checks the archives of hosts that run no machines.
func otherHosts(t *testing.T, dir string) {
	for _, host := range []struct{ name, program, magic string }{
		{"wick-1.2.3-darwin-amd64", "wick", "\xcf\xfa\xed\xfe\x07\x00\x00\x01"}, // Mach-O of x86-64
		{"wick-1.2.3-darwin-arm64", "wick", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01"},
		{"wick-1.2.3-windows-amd64", "wick.exe", "MZ"},
	} {
		to := t.TempDir()
		if strings.Contains(host.name, "windows") {
			packed, err := zip.OpenReader(filepath.Join(dir, host.name+".zip"))
			if err != nil {
				t.Fatal(err)
			}
			err = os.CopyFS(to, packed)
			if err := errors.Join(err, packed.Close()); err != nil {
				t.Fatal(err)
			}
		} else {
			output(t, to, nil, "tar", "-xzf", filepath.Join(dir, host.name+".tar.gz"))
		}
		at := filepath.Join(to, host.name)
		program, err := os.ReadFile(filepath.Join(at, host.program))
		if err != nil || !strings.HasPrefix(string(program), host.magic) {
			t.Errorf("%s: %s begins with %q, %v, want %q", host.name, host.program, program[:min(len(program), 8)], err, host.magic)
		}
		if info, err := os.Stat(filepath.Join(at, host.program)); err == nil && info.Mode().Perm()&0o111 != 0o111 {
			t.Errorf("%s: %s has mode %v, want that it can be run", host.name, host.program, info.Mode())
		}
		for _, name := range []string{
			"LICENSE", "README.md", "CHANGELOG.md", "copyright", "man/wick.1", "man/wick-exec.1",
			"completions/wick.bash", "completions/wick.zsh", "completions/wick.fish", "completions/wick.ps1",
		} {
			if info, err := os.Stat(filepath.Join(at, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s: %v", host.name, name, err)
			}
		}
		if left, err := filepath.Glob(at + "/vm*"); err != nil || len(left) > 0 {
			t.Errorf("%s has %q, which run on Linux alone", host.name, left)
		}
		if _, err := os.Stat(filepath.Join(dir, host.name+".cdx.json")); err != nil {
			t.Error(err)
		}
	}
}

func billOfMaterial(t *testing.T, dir string) {
	for command, want := range map[string]string{"wick": "github.com/spf13/cobra", "vm-init": "golang.org/x/sys", "vsock-agent": "golang.org/x/sys"} {
		text, err := os.ReadFile(filepath.Join(dir, command+"-1.2.3-linux-arm64.cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var bom struct {
			BOMFormat  string
			Components []struct{ Name string }
		}
		if err := json.Unmarshal(text, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
			t.Errorf("%s: %v, format %q", command, err, bom.BOMFormat)
		}
		var names []string
		for _, c := range bom.Components {
			names = append(names, c.Name)
		}
		if all := strings.Join(names, " "); !strings.Contains(all, want) || !strings.Contains(all, "std") {
			t.Errorf("%s is made of %s, want %s and std among it", command, all, want)
		}
	}
}

func manual(t *testing.T, dir string) {
	lacking(t, "man", "man-db")
	pages, err := filepath.Glob(dir + "/*.1.gz")
	if err != nil || len(pages) < 7 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	for _, page := range pages {
		said := output(t, dir, []string{"MANWIDTH=100", "MANROFFOPT=-ww"}, "man", "--warnings", "--local-file", page)
		if !strings.Contains(said, "SYNOPSIS") || strings.Contains(said, "warning:") {
			t.Errorf("%s: %s", page, said)
		}
	}
}
