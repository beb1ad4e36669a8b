//go:build !linux

package main

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"

	"wick/framing/client"
)

// wick cp keeps contents, modes, times and symbolic links on every host. It has owners, hard links,
// holes and extended attributes of local files only on Linux.

// ownerOf returns no owner.
func ownerOf(fs.FileInfo) (uid, gid uint32, ok bool) { return 0, 0, false }

// fileID identifies a file of this machine.
type fileID struct{}

// linkedFile finds no hard links. Each name becomes a file of its own.
func linkedFile(fs.FileInfo) (id fileID, ok bool) { return id, false }

// localExtents finds no holes.
func localExtents(*os.File, fs.FileInfo) ([]client.Extent, bool) { return nil, false }

// localAttributes returns no attributes.
func localAttributes(string) (map[string]string, error) { return nil, nil }

// setLocalAttribute fails.
func setLocalAttribute(*os.File, string, string) error { return errors.ErrUnsupported }

// mkfifo fails.
func (u *unpacker) mkfifo(name string) error {
	return &fs.PathError{Op: "mkfifo", Path: name, Err: errors.ErrUnsupported}
}

// linkTime leaves the time of a symbolic link alone.
func (u *unpacker) linkTime(*tar.Header, string) error { return nil }
