package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// appendedInit is the path of vm-init in a squashfs that it was appended to. mksquashfs appends to
// the top directory only.
const appendedInit = "vm-init"

// addedInit is the path of vm-init in an image that is made from a tar.
const addedInit = "/sbin/vm-init"

// reproducible has the options of mksquashfs that take the time of day out of an image.
var reproducible = []string{"-mkfs-time", "0", "-root-time", "0"}

// A ToolError reports a program that failed.
type ToolError struct {
	Tool   string
	Remedy string // what helps if the tool is missing, or ""
	Output string // its output
	Err    error
}

func (e *ToolError) Error() string {
	s := "run " + e.Tool + ": " + e.Err.Error()
	if e.Output != "" {
		s += ": " + e.Output
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

func (e *ToolError) Unwrap() error { return e.Err }

// packages has the packages of the tools, which have these names on Debian and on Fedora.
var packages = map[string]string{
	"mksquashfs": "squashfs-tools", "unsquashfs": "squashfs-tools", "mkfs.ext4": "e2fsprogs",
}

// tool prepares a program. It looks in root's directories too, which are often not in the PATH.
func tool(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	if err != nil {
		return nil, &ToolError{Tool: name, Remedy: "as root: apt-get install " + packages[name] + ", or dnf install " + packages[name], Err: exec.ErrNotFound}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd, nil
}

// run runs cmd and returns its output.
func run(cmd *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", toolError(cmd, complaint.String()+out.String(), err)
	}
	return out.String(), nil
}

func toolError(cmd *exec.Cmd, output string, err error) error {
	return &ToolError{Tool: filepath.Base(cmd.Path), Output: strings.TrimSpace(output), Err: err}
}

// squash makes the squashfs at out from the tar that fill writes.
//
// Compression is gzip, because every kernel with squashfs supports it. mksquashfs ignores the top
// directory of a tar. Its mode is always 0755, and its time is the current one, unless
// SOURCE_DATE_EPOCH in the environment limits all times.
func squash(
	ctx context.Context, out string, env []string, fill func(io.Writer) error, options ...string,
) error {
	args := append([]string{"-", out, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "gzip",
		"-root-mode", "755", "-root-uid", "0", "-root-gid", "0"}, options...)
	cmd, err := tool(ctx, "mksquashfs", args...)
	if err != nil {
		return err
	}
	if len(options) > 0 { // mksquashfs takes times from the environment or from options, not both
		cmd.Env = slices.DeleteFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, "SOURCE_DATE_EPOCH=") })
	}
	cmd.Env = append(cmd.Env, env...)
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("feed mksquashfs: %w", err)
	}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, &said, &said
	err = cmd.Start()
	r.Close()
	if err != nil {
		w.Close()
		return toolError(cmd, "", err)
	}
	filled := fill(w)
	if filled != nil {
		// mksquashfs would take the end of the stream for the end of the archive, and succeed.
		cmd.Process.Kill()
	}
	w.Close()
	err = cmd.Wait()
	_, refused := errors.AsType[*SourceError](filled)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case refused:
		return filled
	case err != nil && said.Len() > 0:
		return toolError(cmd, said.String(), err) // fill can only have failed by a broken pipe
	case filled != nil:
		return filled
	case err != nil:
		return toolError(cmd, "", err)
	}
	return nil
}

// findInit looks for vm-init in a squashfs.
func findInit(ctx context.Context, image string) (string, error) {
	cmd, err := tool(ctx, "unsquashfs", "-l", image, "sbin/vm-init", "usr/sbin/vm-init", appendedInit)
	if err != nil {
		return "", err
	}
	list, err := run(cmd)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(list) {
		switch name := strings.TrimPrefix(strings.TrimSpace(line), "squashfs-root"); name {
		case "/sbin/vm-init", "/usr/sbin/vm-init", "/" + appendedInit:
			return name, nil
		}
	}
	return "", nil
}

// appendInit copies the image and appends vm-init to the copy.
func appendInit(ctx context.Context, out, image, init string) error {
	if err := copyFile(out, image, 0o600); err != nil {
		return fmt.Errorf("copy the image: %w", err)
	}
	// The appended file has the name and mode of the file on disk, so a copy gets the right ones.
	stage, err := os.MkdirTemp(filepath.Dir(out), "stage-")
	if err != nil {
		return fmt.Errorf("append vm-init: %w", err)
	}
	defer os.RemoveAll(stage)
	if err := copyFile(filepath.Join(stage, appendedInit), init, 0o755); err != nil {
		return fmt.Errorf("append vm-init: %w", err)
	}
	cmd, err := tool(ctx, "mksquashfs", stage, out, "-all-root", "-quiet", "-no-progress", "-no-recovery")
	if err != nil {
		return err
	}
	_, err = run(cmd)
	return err
}

// copyFile copies a file to the new file to, which must not exist.
func copyFile(to, from string, mode os.FileMode) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return fillFile(out, from, mode)
}

// fillFile copies a file into out, and closes it.
func fillFile(out *os.File, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err == nil {
		defer in.Close()
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Chmod(mode)
	}
	return errors.Join(err, out.Close())
}

// Save copies an image out of the cache. It replaces the file at out in one step when the copy is
// complete. Until then the copy has an unpredictable name beside it.
func Save(image, out string) error {
	tmp, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err == nil {
		if err = fillFile(tmp, image, 0o644); err == nil {
			err = os.Rename(tmp.Name(), out)
		}
		if err != nil {
			os.Remove(tmp.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	return nil
}
