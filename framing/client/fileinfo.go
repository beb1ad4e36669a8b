package client

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"syscall"
	"time"

	"wick/framing"
)

// FileInfo describes a file of the guest. It is an [fs.FileInfo] and an [fs.DirEntry].
type FileInfo struct {
	name string
	wire framing.FileInfo
}

func fileInfoOf(name string, i *framing.FileInfo) *FileInfo {
	f := &FileInfo{name: name, wire: *i}
	f.wire.Name = nil
	f.wire.Target = append([]byte(nil), i.Target...)
	return f
}

// Name returns the last element of the path.
func (i *FileInfo) Name() string { return i.name }

// Size returns the size in bytes.
func (i *FileInfo) Size() int64 { return int64(i.wire.Size) }

// Mode returns the type and the permissions.
func (i *FileInfo) Mode() fs.FileMode { return goMode(i.wire.Mode) }

// Type returns the type.
func (i *FileInfo) Type() fs.FileMode { return i.Mode().Type() }

// Info returns i.
func (i *FileInfo) Info() (fs.FileInfo, error) { return i, nil }

// ModTime returns the modification time, as precise as the file system has it.
func (i *FileInfo) ModTime() time.Time { return time.Unix(0, i.wire.ModTime) }

// IsDir reports whether it is a directory.
func (i *FileInfo) IsDir() bool { return i.Mode().IsDir() }

// Sys returns i, which has more than [fs.FileInfo].
func (i *FileInfo) Sys() any { return i }

// UID returns the owner's user id.
func (i *FileInfo) UID() uint32 { return i.wire.UID }

// GID returns the owner's group id.
func (i *FileInfo) GID() uint32 { return i.wire.GID }

// Links returns the number of hard links.
func (i *FileInfo) Links() uint32 { return i.wire.Links }

// Inode returns the file's number in its file system. The guest does not say which file system that
// is.
func (i *FileInfo) Inode() uint64 { return i.wire.Inode }

// Device returns the numbers of a device.
func (i *FileInfo) Device() (major, minor uint32) {
	d := i.wire.Device
	return uint32(d>>8&0xfff | d>>32&0xfffff000), uint32(d&0xff | d>>12&0xffffff00)
}

// Target returns the target of a symbolic link if it can be read, and otherwise "".
func (i *FileInfo) Target() string { return string(i.wire.Target) }

// String formats i as a line of a directory listing.
func (i *FileInfo) String() string { return fs.FormatFileInfo(i) }

// fileTypes are the types of st_mode; see inode(7).
var fileTypes = []struct {
	unix uint32
	mode fs.FileMode
}{
	{syscall.S_IFDIR, fs.ModeDir},
	{syscall.S_IFLNK, fs.ModeSymlink},
	{syscall.S_IFBLK, fs.ModeDevice},
	{syscall.S_IFCHR, fs.ModeDevice | fs.ModeCharDevice},
	{syscall.S_IFIFO, fs.ModeNamedPipe},
	{syscall.S_IFSOCK, fs.ModeSocket},
}

// goMode converts a st_mode.
func goMode(unix uint32) fs.FileMode {
	mode := fs.FileMode(unix & 0o777)
	if unix&syscall.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if unix&syscall.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if unix&syscall.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	kind := unix & syscall.S_IFMT
	for _, t := range fileTypes {
		if t.unix == kind {
			return mode | t.mode
		}
	}
	if kind != syscall.S_IFREG {
		mode |= fs.ModeIrregular
	}
	return mode
}

// unixMode returns the permissions of mode as chmod(2) takes them.
func unixMode(mode fs.FileMode) uint32 {
	unix := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		unix |= syscall.S_ISUID
	}
	if mode&fs.ModeSetgid != 0 {
		unix |= syscall.S_ISGID
	}
	if mode&fs.ModeSticky != 0 {
		unix |= syscall.S_ISVTX
	}
	return unix
}

// FileFlags change what a path means, or what is done to it.
type FileFlags = framing.FileFlags

// fileFlags joins flags.
func fileFlags(flags []FileFlags) (all FileFlags) {
	for _, f := range flags {
		all |= f
	}
	return all
}

// Stat describes a file of the guest. It follows a symbolic link unless a flag says otherwise.
//
// The error is an [*fs.PathError] whose Err is a [syscall.Errno] if the guest could not do it.
// Otherwise it wraps an [*UnsupportedError], the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError]. All methods about files return such errors.
func (c *Client) Stat(ctx context.Context, name string, flags ...FileFlags) (*FileInfo, error) {
	if err := checkPath("stat", name); err != nil {
		return nil, err
	}
	call, err := c.request(ctx, framing.FeatureFiles, framing.TypeStatResult, 64+len(name), func(dst []byte, seq uint32) []byte {
		return framing.AppendStat(dst, seq, fileFlags(flags), []byte(name))
	})
	if err != nil {
		return nil, fmt.Errorf("stat %s: %w", name, err)
	}
	defer call.release()
	if call.isDone {
		return nil, pathError("stat", name, &call.reply.done)
	}
	i, err := framing.ParseStatResult(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	return fileInfoOf(path.Base(name), &i), nil
}

// Lstat is Stat without following a symbolic link.
func (c *Client) Lstat(ctx context.Context, name string, flags ...FileFlags) (*FileInfo, error) {
	return c.Stat(ctx, name, append(flags, framing.FileNoFollow)...)
}

// pathError returns the error of a done about a file, nil for success.
func pathError(op, name string, d *framing.Done) error {
	if d.Errno == 0 {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: guestErrno(d.Errno)}
}

// maxPath is Linux's PATH_MAX, which includes the NUL, in bytes.
const maxPath = 4096

// checkPath refuses a path that no system call takes.
func checkPath(op, name string) error {
	if len(name) >= maxPath {
		return &fs.PathError{Op: op, Path: name[:32] + "...", Err: syscall.ENAMETOOLONG}
	}
	for i := range len(name) {
		if name[i] == 0 {
			return &fs.PathError{Op: op, Path: name, Err: syscall.EINVAL}
		}
	}
	return nil
}
