package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"
	"time"

	"wick/framing"
)

// These flags change what a path means.
const (
	// Safe fails with ELOOP at a symbolic link anywhere in a path.
	Safe = framing.FileSafe
	// NoFollow applies an operation to the symbolic link at a path's end, not to its target.
	NoFollow = framing.FileNoFollow
	// NoReplace makes a rename fail with EEXIST if its target exists.
	NoReplace = framing.FileNoReplace
)

// KeepOwner leaves a user or a group unchanged in [Client.Chown].
const KeepOwner uint32 = 1<<32 - 1

// change requests one change. op names it in errors.
func (c *Client) change(ctx context.Context, op string, ch framing.Change, flags []FileFlags) error {
	name := string(ch.Path)
	if err := errors.Join(checkPath(op, name), checkPath(op, string(ch.Other))); err != nil {
		return err
	}
	return c.changed(ctx, op, ch, flags)
}

// changed is change without checks of the paths.
func (c *Client) changed(ctx context.Context, op string, ch framing.Change, flags []FileFlags) error {
	name := string(ch.Path)
	ch.Flags |= fileFlags(flags)
	call, err := c.request(ctx, framing.FeatureFiles, framing.TypeDone, 64+len(ch.Path)+len(ch.Other), func(dst []byte, seq uint32) []byte {
		return framing.AppendChange(dst, seq, &ch)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	defer call.release()
	return pathError(op, name, &call.reply.done)
}

// Mkdir makes a directory. Its mode is exactly mode: the agent's umask does not apply.
func (c *Client) Mkdir(ctx context.Context, name string, mode fs.FileMode, flags ...FileFlags) error {
	return c.change(ctx, "mkdir", framing.Change{Op: framing.ChangeMkdir, Mode: unixMode(mode), Path: []byte(name)}, flags)
}

// MkdirAll makes a directory and its missing parents. It succeeds if the directory exists.
func (c *Client) MkdirAll(ctx context.Context, name string, mode fs.FileMode, flags ...FileFlags) error {
	return c.Mkdir(ctx, name, mode, append(flags, framing.FileParents)...)
}

// Remove removes a file, a symbolic link, or an empty directory.
func (c *Client) Remove(ctx context.Context, name string, flags ...FileFlags) error {
	return c.change(ctx, "remove", framing.Change{Op: framing.ChangeRemove, Path: []byte(name)}, flags)
}

// RemoveAll removes what is at a path, and everything below it if that is a directory. It succeeds
// if nothing is there. It removes symbolic links and never follows them, even if the tree changes
// meanwhile.
func (c *Client) RemoveAll(ctx context.Context, name string, flags ...FileFlags) error {
	err := c.Remove(ctx, name, flags...)
	if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	// The caller decides whether links above the directory are followed; below it none is.
	i, err := c.Lstat(ctx, name, flags...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !i.IsDir() {
		return err
	}
	resolved, err := c.RealPath(ctx, name)
	if err != nil {
		return err
	}
	return c.removeTree(ctx, resolved, maxHeld)
}

// removeTree removes a directory whose path has no symbolic links. room is how many entries it may
// hold.
func (c *Client) removeTree(ctx context.Context, dir string, room int) error {
	entries, err := c.readDir(ctx, dir, &room, Safe)
	if err != nil {
		return ignoreMissing(err)
	}
	all := newPipeline(ctx)
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if err := c.removeTree(ctx, name, room); err != nil {
				all.fail(err)
			}
			continue
		}
		all.do(func(ctx context.Context) error { return ignoreMissing(c.Remove(ctx, name, Safe)) })
	}
	if err := all.wait(); err != nil {
		return err
	}
	return ignoreMissing(c.Remove(ctx, dir, Safe))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Rename renames a file, and replaces the file that has the new name.
func (c *Client) Rename(ctx context.Context, from, to string, flags ...FileFlags) error {
	return c.change(ctx, "rename", framing.Change{Op: framing.ChangeRename, Path: []byte(from), Other: []byte(to)}, flags)
}

// Symlink makes name a symbolic link to target.
func (c *Client) Symlink(ctx context.Context, target, name string, flags ...FileFlags) error {
	return c.change(ctx, "symlink", framing.Change{Op: framing.ChangeSymlink, Path: []byte(name), Other: []byte(target)}, flags)
}

// Link makes name a hard link to the file old.
func (c *Client) Link(ctx context.Context, old, name string, flags ...FileFlags) error {
	return c.change(ctx, "link", framing.Change{Op: framing.ChangeLink, Path: []byte(name), Other: []byte(old)}, flags)
}

// Chmod sets the permissions of a file. It follows a symbolic link.
func (c *Client) Chmod(ctx context.Context, name string, mode fs.FileMode, flags ...FileFlags) error {
	return c.change(ctx, "chmod", framing.Change{Op: framing.ChangeMode, Mode: unixMode(mode), Path: []byte(name)}, flags)
}

// Chown sets the owner of a file; [KeepOwner] leaves the user or the group unchanged. It follows a
// symbolic link unless a flag says otherwise.
func (c *Client) Chown(ctx context.Context, name string, uid, gid uint32, flags ...FileFlags) error {
	return c.change(ctx, "chown", framing.Change{Op: framing.ChangeOwner, UID: uid, GID: gid, Path: []byte(name)}, flags)
}

// Chtimes sets the modification time of a file. It follows a symbolic link unless a flag says
// otherwise.
func (c *Client) Chtimes(ctx context.Context, name string, modified time.Time, flags ...FileFlags) error {
	return c.change(ctx, "chtimes", framing.Change{Op: framing.ChangeTime, ModTime: modified.UnixNano(), Path: []byte(name)}, flags)
}

// Mknod makes a device, a FIFO or a socket. major and minor are the numbers of a device.
func (c *Client) Mknod(ctx context.Context, name string, mode fs.FileMode, major, minor uint32, flags ...FileFlags) error {
	if err := c.need(ctx, framing.FeatureCopies); err != nil {
		return fmt.Errorf("mknod %s: %w", name, err)
	}
	unix := unixMode(mode)
	for _, t := range fileTypes {
		if mode.Type() == t.mode {
			unix |= t.unix
		}
	}
	return c.change(ctx, "mknod", framing.Change{Op: framing.ChangeNode, Mode: unix, UID: major, GID: minor, Path: []byte(name)}, flags)
}

// SetAttribute sets an extended attribute of a file. It does not follow a symbolic link.
func (c *Client) SetAttribute(ctx context.Context, name, attribute string, value []byte, flags ...FileFlags) error {
	if err := c.need(ctx, framing.FeatureCopies); err != nil {
		return fmt.Errorf("setxattr %s: %w", name, err)
	}
	if len(attribute) > 255 || len(value) >= framing.MaxText-256 {
		return &fs.PathError{Op: "setxattr", Path: name, Err: syscall.ERANGE}
	}
	other := framing.AppendAttribute(nil, []byte(attribute), value)
	if err := checkPath("setxattr", name); err != nil {
		return err
	}
	return c.changed(ctx, "setxattr", framing.Change{Op: framing.ChangeAttribute, Path: []byte(name), Other: other}, flags)
}

// Attributes returns the extended attributes of a file by name. It does not follow a symbolic link.
func (c *Client) Attributes(ctx context.Context, name string, flags ...FileFlags) (map[string]string, error) {
	d, err := c.openAttributes(ctx, name, flags...)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return readAttributes(d)
}

// openAttributes requests the extended attributes of a file.
func (c *Client) openAttributes(ctx context.Context, name string, flags ...FileFlags) (*download, error) {
	if err := c.need(ctx, framing.FeatureCopies); err != nil {
		return nil, fmt.Errorf("getxattr %s: %w", name, err)
	}
	return c.download(ctx, "getxattr", name, readWindow, 0, func(dst []byte, seq, credit uint32) []byte {
		return framing.AppendList(dst, seq, &framing.List{Flags: fileFlags(flags) | framing.FileAttributes, Credit: credit, Path: []byte(name)})
	})
}

// maxAttributes limits the extended attributes of a file to so many bytes, whatever the guest
// sends.
const maxAttributes = 1 << 20

// readAttributes reads the reply to openAttributes.
func readAttributes(d *download) (map[string]string, error) {
	b, err := io.ReadAll(io.LimitReader(d, maxAttributes))
	if err != nil || len(b) == 0 {
		return nil, err
	}
	all := map[string]string{}
	for len(b) > 0 {
		name, value, rest, err := framing.CutAttribute(b)
		if err != nil {
			return nil, d.c.broken(err)
		}
		all[string(name)], b = string(value), rest
	}
	return all, nil
}
