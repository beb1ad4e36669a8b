//go:build !linux

package client

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
)

// wick cp keeps contents, modes, times and symbolic links on every host. It has owners, hard links,
// holes and extended attributes of local files only on Linux.

// localID identifies a file of this machine.
type localID struct{}

// linkedLocal finds no hard links. Each name becomes a file of its own.
func linkedLocal(fs.FileInfo) (id localID, ok bool) { return id, false }

// LocalExtents finds no holes.
func LocalExtents(*os.File) ([]Extent, bool) { return nil, false }

// LocalAttributes returns no attributes.
func LocalAttributes(string) (map[string]string, error) { return nil, nil }

// SetLocalAttribute fails.
func SetLocalAttribute(*os.File, string, string) error { return errors.ErrUnsupported }

// mkfifo fails.
func (u *dirUnpacker) mkfifo(name string) error {
	return &fs.PathError{Op: "mkfifo", Path: name, Err: errors.ErrUnsupported}
}

// linkTime leaves the time of a symbolic link alone.
func (u *dirUnpacker) linkTime(*tar.Header, string) error { return nil }
