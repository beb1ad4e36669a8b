// Package debian fetches Debian packages through the host's own apt and unpacks them into the cache. It needs no root and installs
// nothing.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wick/cmd/wick/internal/cache"
)

// UnavailableError says that a package cannot be had, and what would help.
type UnavailableError struct {
	Package string
	Reason  string
	Err     error // of the tool, or nil
}

func (e *UnavailableError) Error() string {
	s := "fetch the Debian package " + e.Package + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Unpacked returns the directory that the package was unpacked into. A package is fetched once and then stays as it is: no run waits for
// a mirror, or for apt to read its lists. Removing the cache's entry makes the next run fetch what is new by then.
func Unpacked(ctx context.Context, dir cache.Dir, name string) (string, error) {
	return dir.Get(ctx, "debian-"+name, func(ctx context.Context, tmp string) error {
		for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
			if _, err := exec.LookPath(tool); err != nil {
				return &UnavailableError{Package: name, Reason: "this host has no " + tool}
			}
		}
		wanted, err := real(ctx, name)
		if err != nil {
			return err
		}
		download := tmp + "/download"
		if err := os.MkdirAll(download, 0o700); err != nil {
			return fmt.Errorf("unpack %s: %w", wanted, err)
		}
		// apt's sandbox user cannot write to a private directory; without the option root gets a warning for it.
		if _, err := run(ctx, download, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", wanted); err != nil {
			return &UnavailableError{wanted, "apt-get download failed (is the network there? are its lists fresh? as root: apt-get update)", err}
		}
		debs, err := filepath.Glob(download + "/*.deb")
		if err != nil || len(debs) != 1 {
			return &UnavailableError{Package: wanted, Reason: fmt.Sprintf("apt-get download left %d packages", len(debs))}
		}
		if _, err := run(ctx, tmp, "dpkg-deb", "-x", debs[0], tmp); err != nil {
			return fmt.Errorf("unpack %s: %w", wanted, err)
		}
		return os.RemoveAll(download)
	})
}

// real follows a package that is only a name for the newest version of another (linux-image-cloud-amd64) to that one.
func real(ctx context.Context, name string) (string, error) {
	out, err := run(ctx, "", "apt-cache", "depends", "--important", name)
	if err != nil {
		return "", &UnavailableError{name, "apt does not know it (as root: apt-get update)", err}
	}
	for line := range strings.Lines(out) {
		prefix, dep, ok := strings.Cut(strings.TrimSpace(line), ": ")
		stem, _, _ := strings.Cut(name, "-cloud-")
		if ok && prefix == "Depends" && stem != name && strings.HasPrefix(dep, stem+"-") {
			return dep, nil
		}
	}
	return name, nil
}

// run runs a tool in dir and returns what it printed; its error ends with what the tool complained of.
func run(ctx context.Context, dir, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if said := strings.TrimSpace(string(exit.Stderr)); said != "" {
			return "", fmt.Errorf("%w: %s", err, said)
		}
	}
	return string(out), err
}
