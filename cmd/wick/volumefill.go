//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"wick/framing"
	"wick/framing/client"
)

const (
	// belowMounts is where the guest's root is seen without what is mounted in it, and newVolume a
	// volume.
	belowMounts = "/run/wick-below"
	newVolume   = "/run/wick-volume"
	// fillMark is in a volume that is being filled.
	fillMark = ".wick-filling"
	// lostFound is the directory that every new ext4 has.
	lostFound = "lost+found"
)

// fillVolumes gives each new disk the files that the root has at its place, as docker does. It also
// makes the volumes that are on the overlay disk. A workload that the machine runs by itself may
// have started, and finds them as they are.
func (r *runner) fillVolumes(ctx context.Context, c *client.Client) error {
	own := r.ownVolumes()
	if len(r.args) == 0 || len(own)+len(r.volumes.wanted) == 0 {
		return nil
	}
	h, err := c.Hello(ctx)
	if err != nil {
		return err
	}
	if h.Features&framing.FeatureDisks == 0 {
		return nil
	}
	for _, dir := range own {
		if err := r.makeVolume(ctx, c, dir); err != nil {
			return fmt.Errorf("volume %s: %w", dir, err)
		}
	}
	seen := false
	defer func() {
		if seen {
			unbind(ctx, c, belowMounts)
		}
	}()
	for _, v := range r.volumes.wanted {
		if v.name == "" || v.ReadOnly {
			continue
		}
		if fresh, err := r.isFresh(ctx, c, v.Target); err != nil {
			return fmt.Errorf("volume %s: %w", v.Target, err)
		} else if !fresh || v.bare {
			continue
		}
		if !seen {
			if seen, err = c.Mount(ctx, "/:"+belowMounts+":bind:ro", 0); err != nil {
				return fmt.Errorf("volume %s: %w", v.Target, err)
			}
		}
		if err := fill(ctx, c, v.Target); err != nil {
			return fmt.Errorf("copy the image's files into the new volume %s: %w", v.Target, err)
		}
	}
	return nil
}

// unbind removes a mount that only this run has used.
func unbind(ctx context.Context, c *client.Client, dir string) {
	c.Unmount(ctx, dir, true)
	c.Remove(ctx, dir)
}

// isFresh reports whether a volume is empty, or was not filled to the end. Directories that lead to
// another volume do not count. It removes the directory with which an ext4 begins, because
// databases refuse one that is not empty.
func (r *runner) isFresh(ctx context.Context, c *client.Client, dir string) (bool, error) {
	list, err := c.ReadDir(ctx, dir)
	if err != nil {
		return false, err
	}
	own := false
	for _, e := range list {
		to := dir + "/" + e.Name()
		switch leads := func(v volume) bool { return v.Target == to || strings.HasPrefix(v.Target, to+"/") }; {
		case e.Name() == fillMark:
			return true, nil
		case e.Name() == lostFound:
			own = true
		case !slices.ContainsFunc(r.volumes.wanted, leads):
			return false, nil
		}
	}
	if own {
		err = c.Remove(ctx, dir+"/"+lostFound) // one with content stays
		if errors.Is(err, syscall.ENOTEMPTY) {
			return false, nil
		}
	}
	return true, err
}

// fill copies the directory that an empty volume hides, if there is one: its owner, its mode and
// what is in it. Volumes in the directory are left as they are.
func fill(ctx context.Context, c *client.Client, target string) error {
	from := belowMounts + target
	info, err := c.Stat(ctx, from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := c.Mount(ctx, target+":"+newVolume+":bind", 0); err != nil {
		return err
	}
	defer unbind(ctx, c, newVolume)
	mark := newVolume + "/" + fillMark
	if err := c.MkdirAll(ctx, mark, 0o700); err != nil {
		return err
	}
	tar, out := io.Pipe()
	packed := make(chan error, 1)
	o := client.TarOptions{Attributes: true, Note: func(string, string) {}}
	go func() {
		err := c.TarFrom(ctx, from, out, o)
		out.CloseWithError(err)
		packed <- err
	}()
	err = c.TarTo(ctx, tar, newVolume, o)
	tar.CloseWithError(io.ErrClosedPipe)
	if other := <-packed; err == nil {
		err = other
	}
	if err != nil {
		return err
	}
	// The files are on the disk before the mark is gone.
	if c.Freeze(ctx, 10*time.Second) == nil {
		c.Thaw(ctx)
	}
	return c.Remove(ctx, mark)
}

// ownVolumes returns the volumes without a source, which are those of -v PATH and of the image. One
// with a source at the same place takes over.
func (r *runner) ownVolumes() []string {
	own := slices.Clone(r.volumes.own)
	if img := r.options.Image; img != nil {
		for _, name := range slices.Sorted(maps.Keys(img.Config.Config.Volumes)) {
			if target, err := checkTarget(name); err == nil && !slices.Contains(own, target) {
				own = append(own, target)
			}
		}
	}
	return slices.DeleteFunc(own, func(dir string) bool {
		return slices.ContainsFunc(r.volumes.wanted, func(v volume) bool { return v.Target == dir })
	})
}

// makeVolume makes a volume without a source. With --read-only it is a mount of its own, so that it
// can be written.
func (r *runner) makeVolume(ctx context.Context, c *client.Client, dir string) error {
	if err := c.MkdirAll(ctx, dir, 0o755); err != nil {
		return err
	}
	if !r.flags.options.ReadOnly || strings.HasPrefix(dir, "/run/") {
		return nil
	}
	_, err := c.Mount(ctx, dir+":"+dir+":bind", 0)
	return err
}
