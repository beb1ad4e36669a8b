// Package debian fetches Debian packages through the host's own apt and unpacks them into the
// cache. On a host without that apt it fetches pinned versions by HTTP. It needs no root and
// installs nothing.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"wick/cmd/wick/internal/cache"
)

// UnavailableError says why a package cannot be fetched, and what would help.
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

// Unpacked returns the directory into which the package was unpacked. arch is Debian's name of the
// architecture. A package is fetched once and then stays as it is, so no run waits for a mirror, or
// for apt to read its lists. If the cache's entry is removed, the next run fetches the newest
// package.
//
// A host whose apt does not have the package gets a pinned version of it, if there is one.
func Unpacked(ctx context.Context, dir cache.Dir, arch, name string) (string, error) {
	return dir.Get(ctx, "debian-"+name+"_"+arch, func(ctx context.Context, tmp string) error {
		err := unpackByApt(ctx, tmp, arch, name)
		missing, ok := errors.AsType[*UnavailableError](err)
		p, pinned := pins[name+"_"+arch]
		if !ok || !pinned || ctx.Err() != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o700)); err != nil {
			return err
		}
		if err := p.unpackPinned(ctx, tmp); err != nil {
			missing.Err = errors.Join(missing.Err, err)
			return missing
		}
		return nil
	})
}

// unpackByApt has the host's apt download the package, and unpacks it into tmp.
func unpackByApt(ctx context.Context, tmp, arch, name string) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return &UnavailableError{Package: name, Reason: "this host has no " + tool}
		}
	}
	download := tmp + "/download"
	if err := os.MkdirAll(download, 0o700); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	a := apt{dir: download}
	if arch != runtime.GOARCH {
		if err := a.foreign(ctx, arch); err != nil {
			return &UnavailableError{name,
				"apt-get update for " + arch + " failed (check the network)", err}
		}
	}
	wanted, err := a.real(ctx, name)
	if err != nil {
		return err
	}
	if _, err := a.run(ctx, "apt-get", "download", wanted); err != nil {
		return &UnavailableError{wanted,
			"apt-get download failed (check the network, and as root run apt-get update)", err}
	}
	debs, err := filepath.Glob(download + "/*.deb")
	if err != nil || len(debs) != 1 {
		return &UnavailableError{Package: wanted,
			Reason: fmt.Sprintf("apt-get download left %d packages", len(debs))}
	}
	if _, err := run(ctx, tmp, "dpkg-deb", "-x", debs[0], tmp); err != nil {
		return fmt.Errorf("unpack %s: %w", wanted, err)
	}
	return os.RemoveAll(download)
}

// apt is the host's apt, which downloads into dir.
type apt struct {
	dir     string
	options []string
}

// foreign turns a into an apt of another architecture, with the host's sources but lists of its
// own. So the host's lists are not touched, and dpkg need not know the architecture.
func (a *apt) foreign(ctx context.Context, arch string) error {
	for _, d := range []string{"/apt/state/lists/partial", "/apt/cache/archives/partial"} {
		if err := os.MkdirAll(a.dir+d, 0o700); err != nil {
			return err
		}
	}
	for _, o := range []string{
		"APT::Architecture=" + arch, "APT::Architectures=" + arch,
		"Dir::State=" + a.dir + "/apt/state", "Dir::State::status=/dev/null",
		"Dir::Cache=" + a.dir + "/apt/cache",
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		a.options = append(a.options, "-o", o)
	}
	_, err := a.run(ctx, "apt-get", "update")
	return err
}

// run runs apt-get or apt-cache.
func (a *apt) run(ctx context.Context, tool string, args ...string) (string, error) {
	// apt's sandbox user cannot write to a private directory, and root would get a warning about
	// it.
	args = append(args, "-q", "-o", "APT::Sandbox::User=root")
	return run(ctx, a.dir, tool, append(args, a.options...)...)
}

// real resolves a package that only names the newest version of another (linux-image-cloud-amd64,
// linux-image-amd64).
func (a *apt) real(ctx context.Context, name string) (string, error) {
	out, err := a.run(ctx, "apt-cache", "depends", "--important", name)
	if err != nil {
		return "", &UnavailableError{name, "apt does not know it (as root: apt-get update)", err}
	}
	for line := range strings.Lines(out) {
		prefix, dep, ok := strings.Cut(strings.TrimSpace(line), ": ")
		stem, flavor, _ := strings.Cut(name, "-cloud-")
		if flavor == "" {
			stem = name[:max(strings.LastIndexByte(name, '-'), 0)]
		}
		if ok && prefix == "Depends" && stem != "" && strings.HasPrefix(dep, stem+"-") {
			return dep, nil
		}
	}
	return name, nil
}

// outputDelay is how long the children of a killed tool may hold its output.
const outputDelay = time.Second

// run runs a tool in dir and returns its output. An error ends with the tool's message. The tool
// does not outlive us, or it would go on in a directory that the next one fills.
func run(ctx context.Context, dir, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = outputDelay
	runtime.LockOSThread() // the signal comes when the thread that forked ends
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if said := strings.TrimSpace(string(exit.Stderr)); said != "" {
			return "", fmt.Errorf("%w: %s", err, said)
		}
	}
	return string(out), err
}
