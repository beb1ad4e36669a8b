package client

import (
	"context"
	"io"
	"io/fs"
	"path"
	"syscall"
)

// FS is a directory of the guest as a file system for reading. It is an [fs.StatFS], an
// [fs.ReadDirFS], an [fs.ReadFileFS] and an [fs.ReadLinkFS].
type FS struct {
	ctx   context.Context
	c     *Client
	root  string
	flags []FileFlags
}

// FS returns a file system of the directory at root. ctx applies to everything done with it. Like
// [os.DirFS] it follows symbolic links wherever they lead, unless the flag [Safe] is given.
func (c *Client) FS(ctx context.Context, root string, flags ...FileFlags) *FS {
	return &FS{ctx, c, root, flags}
}

// path returns the guest's path of a name.
func (f *FS) path(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(f.root, name), nil
}

// Open implements fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	full, err := f.path("open", name)
	if err != nil {
		return nil, err
	}
	file, err := f.c.open(f.ctx, full, name, f.flags)
	if err != nil {
		return nil, err // not file, which would be a nil of its own type
	}
	return file, nil
}

// Stat implements fs.StatFS.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name) }

// Lstat implements fs.ReadLinkFS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, NoFollow) }

func (f *FS) stat(op, name string, flags ...FileFlags) (fs.FileInfo, error) {
	full, err := f.path(op, name)
	if err != nil {
		return nil, err
	}
	i, err := f.c.Stat(f.ctx, full, append(flags, f.flags...)...)
	if err != nil {
		return nil, renamed(err, op, name)
	}
	i.name = path.Base(name)
	return i, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	full, err := f.path("readdir", name)
	if err != nil {
		return nil, err
	}
	list, err := f.c.ReadDir(f.ctx, full, f.flags...)
	if err != nil {
		return nil, renamed(err, "readdir", name)
	}
	return dirEntries(list), nil
}

// ReadFile implements fs.ReadFileFS. It costs one round trip, unlike Open and Read.
func (f *FS) ReadFile(name string) ([]byte, error) {
	full, err := f.path("read", name)
	if err != nil {
		return nil, err
	}
	b, err := f.c.ReadFile(f.ctx, full, f.flags...)
	return b, renamed(err, "read", name)
}

// ReadLink implements fs.ReadLinkFS.
func (f *FS) ReadLink(name string) (string, error) {
	full, err := f.path("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := f.c.ReadLink(f.ctx, full, f.flags...)
	return target, renamed(err, "readlink", name)
}

// ReadFile returns the content of a file of the guest, of any length. A hostile guest can send
// without end: use [Client.OpenRead] for it.
func (c *Client) ReadFile(ctx context.Context, path string, flags ...FileFlags) ([]byte, error) {
	stream, err := c.openRead(ctx, path, 0, 0, readWindow, flags...)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(stream)
}

// ReadLink returns the target of a symbolic link. The error is EINVAL for another file, and ENOENT
// for a link that cannot be read, such as some in /proc.
func (c *Client) ReadLink(ctx context.Context, name string, flags ...FileFlags) (string, error) {
	i, err := c.Lstat(ctx, name, flags...)
	if err != nil {
		return "", renamed(err, "readlink", name)
	}
	if i.Mode().Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: syscall.EINVAL}
	}
	if i.Target() == "" {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: syscall.ENOENT}
	}
	return i.Target(), nil
}

var (
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)
