package client

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"wick/framing"
)

// listWindow is the credit of a list, in bytes.
const listWindow = 64 << 10

// MaxList is how many bytes of entries [Client.ReadDir] holds, about a million files. An entry
// takes 52 bytes and its name, and a link its target.
const MaxList = 64 << 20

// ReadDir returns the entries of a directory, sorted by name. The error is EFBIG if they exceed
// [MaxList].
func (c *Client) ReadDir(ctx context.Context, path string, flags ...FileFlags) ([]*FileInfo, error) {
	d, err := c.download(ctx, "list", path, listWindow, 0, func(dst []byte, seq, credit uint32) []byte {
		return framing.AppendList(dst, seq, &framing.List{Flags: fileFlags(flags), Credit: credit, Path: []byte(path)})
	})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries := lister{c: c, room: MaxList}
	if _, err := d.WriteTo(&entries); err == errTooMuch {
		return nil, &fs.PathError{Op: "list", Path: path, Err: syscall.EFBIG}
	} else if err != nil {
		return nil, err
	}
	if len(entries.rest) > 0 {
		return nil, c.broken(errors.New("list: payload ends within an entry"))
	}
	slices.SortFunc(entries.list, func(a, b *FileInfo) int { return strings.Compare(a.name, b.name) })
	return entries.list, nil
}

// maxHeld is how many entries a walk holds at a time, of all directories from the top to the
// current one.
const maxHeld = 2 << 20

// readDir is ReadDir for a walk. room is how many entries it may hold, and is reduced by their
// number.
func (c *Client) readDir(ctx context.Context, path string, room *int, flags ...FileFlags) ([]*FileInfo, error) {
	entries, err := c.ReadDir(ctx, path, flags...)
	if *room -= len(entries); *room < 0 {
		return nil, &fs.PathError{Op: "list", Path: path, Err: syscall.EFBIG}
	}
	return entries, err
}

// lister parses the output of a list into entries.
type lister struct {
	c    *Client
	list []*FileInfo
	rest []byte // the beginning of an entry
	room int    // for more, in bytes
}

// errTooMuch is the error of a list without room for more.
var errTooMuch = errors.New("too many entries")

// Write implements io.Writer. A frame has whole entries, but p may be cut anywhere.
func (l *lister) Write(p []byte) (int, error) {
	if l.room -= len(p); l.room < 0 {
		return 0, errTooMuch
	}
	b := append(l.rest, p...)
	for len(b) > 0 {
		i, rest, err := framing.CutFileInfo(b)
		if err != nil {
			if len(b) > maxEntry {
				return 0, l.c.broken(err)
			}
			break
		}
		name := string(i.Name)
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return 0, l.c.broken(&framing.PayloadError{Type: framing.TypeList, Reason: "a name is not valid"})
		}
		l.list = append(l.list, fileInfoOf(name, &i))
		b = rest
	}
	l.rest = append([]byte(nil), b...)
	return len(p), nil
}

// maxEntry is more than the longest entry of a list, in bytes. A longer one that cannot be parsed
// never will be.
const maxEntry = framing.FileInfoSize + 2*framing.MaxText

var _ fs.DirEntry = (*FileInfo)(nil)
