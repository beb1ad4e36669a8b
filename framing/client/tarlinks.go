package client

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// within calls f with the path of an entry. If a symbolic link or a file is in the way, it resolves
// the links within the directory and calls f again. It returns the path of the last call.
func (t *tarUnpacker) within(ctx context.Context, h *tar.Header, name string, f func(name string) error) (string, error) {
	err := f(name)
	if t.o.Follow || !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.ENOTDIR) {
		return name, err
	}
	t.awaitDirs(ctx, name)
	parent, found := t.resolve(ctx, h, path.Dir(name))
	if found != nil {
		return name, found
	}
	at := path.Join(parent, path.Base(name))
	return at, f(at)
}

// awaitDirs waits for the directories above name that earlier entries make: they may replace what
// is in the way.
func (t *tarUnpacker) awaitDirs(ctx context.Context, name string) {
	for above := path.Dir(name); len(above) > len(t.dir); above = path.Dir(above) {
		t.linking.Lock()
		done := t.made[above]
		t.linking.Unlock()
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// resolve follows the symbolic links in a path below the directory. It keeps missing elements at
// the end as they are.
func (t *tarUnpacker) resolve(ctx context.Context, h *tar.Header, name string) (string, error) {
	out := func(link string) error {
		return &TarError{Name: h.Name, Reason: fmt.Sprintf("the symbolic link %s leads out of the directory %s", link, t.dir), Err: syscall.ELOOP}
	}
	below := func(name string) string { return strings.TrimPrefix(strings.TrimPrefix(name, t.dir), "/") }
	at, rest := t.dir, strings.Split(below(name), "/")
	links, last := 0, ""
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == t.dir && t.dir != "/" {
				return "", out(last)
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := t.c.Lstat(ctx, next, t.flags...)
		if errors.Is(err, fs.ErrNotExist) {
			return path.Join(next, path.Join(rest...)), nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		target := info.Target()
		last = next
		if strings.HasPrefix(target, "/") {
			if target != t.dir && !strings.HasPrefix(target, strings.TrimSuffix(t.dir, "/")+"/") {
				return "", out(next)
			}
			at, target = t.dir, below(target)
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// makeDir makes a directory, unless there is one, or a link to one below the directory. It replaces
// anything else.
func (t *tarUnpacker) makeDir(ctx context.Context, h *tar.Header, entry string) error {
	_, err := t.within(ctx, h, entry, func(name string) error {
		err := t.c.MkdirAll(ctx, name, 0o755, t.flags...)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := t.c.Lstat(ctx, name, t.flags...)
		if err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink && !t.o.Follow {
			at, err := t.resolve(ctx, h, name)
			if err != nil {
				return err
			}
			if there, err := t.c.Lstat(ctx, at, t.flags...); err == nil && there.IsDir() {
				t.linking.Lock()
				defer t.linking.Unlock()
				t.linked[entry] = true
				return nil
			}
		}
		// An entry below it, which is made at the same time, may make it first.
		return t.replace(ctx, name, func() error { return t.c.MkdirAll(ctx, name, 0o755, t.flags...) })
	})
	return err
}

// write writes a file. It replaces a link or an empty directory of that name.
func (t *tarUnpacker) write(ctx context.Context, name string, r io.Reader, sparse bool, o WriteOptions) error {
	w, err := t.c.Create(ctx, name, o)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EINVAL) {
		if t.c.Remove(ctx, name, t.flags...) == nil {
			w, err = t.c.Create(ctx, name, o)
		}
	}
	if err != nil {
		return err
	}
	if sparse {
		err = CopySparse(r, func(b []byte) error { _, err := w.Write(b); return err }, w.Skip)
	} else {
		_, err = w.ReadFrom(r)
	}
	if err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

// link makes a hard link.
func (t *tarUnpacker) link(ctx context.Context, h *tar.Header, old, name string) error {
	_, err := t.within(ctx, h, old, func(old string) error {
		_, err := t.within(ctx, h, name, func(name string) error {
			return t.replace(ctx, name, func() error { return t.c.Link(ctx, old, name, t.flags...) })
		})
		return err
	})
	return err
}

// node makes a device or a FIFO, if the guest's agent can.
func (t *tarUnpacker) node(ctx context.Context, h *tar.Header, name string) error {
	kinds := map[byte]fs.FileMode{tar.TypeChar: fs.ModeDevice | fs.ModeCharDevice, tar.TypeBlock: fs.ModeDevice, tar.TypeFifo: fs.ModeNamedPipe}
	mode := h.FileInfo().Mode()&(fs.ModePerm|fs.ModeSticky) | kinds[h.Typeflag]
	at, err := t.within(ctx, h, name, func(name string) error {
		return t.replace(ctx, name, func() error {
			return t.c.Mknod(ctx, name, mode, uint32(h.Devmajor), uint32(h.Devminor), t.flags...)
		})
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		kind := "a device"
		if h.Typeflag == tar.TypeFifo {
			kind = "a FIFO"
		}
		reason := "left out: it is " + kind + ", which the guest's agent cannot make: " + cause(err)
		if t.o.Note == nil {
			return &TarError{Name: h.Name, Reason: reason}
		}
		t.note(h.Name, reason)
		return nil
	}
	return t.meta(ctx, h, at, err)
}

// cause returns the text of an error without its operation and path.
func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*UnsupportedError](err); ok {
		return e.Error()
	}
	return err.Error()
}

// owner returns the owner of an entry, nil for the user who makes it.
func (t *tarUnpacker) owner(h *tar.Header) *Owner {
	switch {
	case t.o.Owner != nil:
		return t.o.Owner
	case t.o.NoOwner:
		return nil
	}
	return &Owner{uint32(h.Uid), uint32(h.Gid)}
}

// attributes sets the extended attributes of the entry, and notes those that are lost.
func (t *tarUnpacker) attributes(ctx context.Context, h *tar.Header, name string) {
	if !t.o.Attributes || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return
	}
	all, lost := TarAttributes(h)
	for _, record := range lost {
		t.note(h.Name, "its "+record+" is left out")
	}
	for attribute, value := range all {
		if !t.o.Keeps(attribute) {
			t.note(h.Name, "its attribute "+attribute+" is left out")
			continue
		}
		if err := t.c.SetAttribute(ctx, name, attribute, []byte(value), t.flags...); err != nil {
			t.note(h.Name, "its attribute "+attribute+" is lost: "+cause(err))
		}
	}
}
