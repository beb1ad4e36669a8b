package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// mostEntries limits the entries of an image, and with them the memory of its tree.
const mostEntries = 4 << 20

// The names of whiteouts, as in the OCI image specification. One hides a name of the layers below,
// and an opaque one hides all that is below in its directory.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	metadata = ".wh..wh."
)

// inode is a file of the merged image, or a directory's metadata.
type inode struct {
	h *tar.Header
	// layer and entry are where its content is.
	layer, entry int
	// names are the paths under which it is in the image. collect sets them.
	names []string
}

// node is a name in the tree.
type node struct {
	*inode
	// layer is the one that made or changed the name last.
	layer    int
	children map[string]*node // nil unless it is a directory
}

// merger merges layers to a tree, the lowest layer first.
type merger struct {
	root  *node
	layer int
	count int
}

func newMerger() *merger { return &merger{root: newDir("", 0)} }

// newDir returns a directory that no layer has an entry for.
func newDir(name string, layer int) *node {
	h := &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
	return &node{inode: &inode{h: h, layer: layer, entry: -1}, layer: layer, children: map[string]*node{}}
}

// add merges the entry of a number of the current layer.
func (m *merger) add(entry int, h *tar.Header) error {
	if m.count++; m.count > mostEntries {
		return fmt.Errorf("more than %d entries", mostEntries)
	}
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return nil // the top directory is always root's, with the mode 0755
	}
	dir, base := path.Split(name)
	if base == opaque {
		if parent, err := m.lookup(dir, false); err == nil && parent != nil && parent.children != nil {
			m.hide(parent)
		}
		return nil
	}
	if strings.HasPrefix(base, metadata) {
		return nil // of aufs
	}
	hidden, isWhiteout := strings.CutPrefix(base, whiteout)
	if isOverlay := h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0; isOverlay {
		hidden, isWhiteout = base, true // the guest's overlayfs would take it for one too
	}
	if isWhiteout {
		parent, err := m.lookup(dir, false)
		if err != nil || parent == nil || parent.children[hidden] == nil {
			return nil //nolint:nilerr // there is nothing to hide
		}
		if !m.hide(parent.children[hidden]) {
			delete(parent.children, hidden)
		}
		return nil
	}
	parent, err := m.lookup(dir, true)
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	old := parent.children[base]
	h = kept(h)
	switch h.Typeflag {
	case tar.TypeLink:
		target, err := m.target(h.Linkname)
		if err != nil {
			return fmt.Errorf("/%s: link to %s: %w", name, h.Linkname, err)
		}
		parent.children[base] = &node{inode: target.inode, layer: m.layer}
		return nil
	case tar.TypeDir:
		n := newDir(base, m.layer)
		n.h, n.entry = h, entry
		if old != nil && old.children != nil {
			n.children = old.children
		}
		parent.children[base] = n
	default:
		parent.children[base] = &node{inode: &inode{h: h, layer: m.layer, entry: entry}, layer: m.layer}
	}
	return nil
}

// kept returns a header with all that a root image can hold of another one.
func kept(h *tar.Header) *tar.Header {
	return &tar.Header{
		Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime, Devmajor: h.Devmajor, Devminor: h.Devminor, PAXRecords: records(h.PAXRecords),
	}
}

// hide removes what lower layers have at and below n, and reports whether anything of this layer is
// left there.
func (m *merger) hide(n *node) bool {
	kept := n.layer == m.layer
	for name, child := range n.children {
		if m.hide(child) {
			kept = true
		} else {
			delete(n.children, name)
		}
	}
	return kept
}

// errNotDir is the error for a file with names below it.
var errNotDir = errors.New("not a directory")

// mostLinks limits the symbolic links that a path may have, like the kernel.
const mostLinks = 40

// lookup returns the directory of a path. It follows symbolic links as in the guest, where they
// cannot lead out of the root. It makes missing directories, or returns nil.
func (m *merger) lookup(dir string, makes bool) (*node, error) {
	at := []*node{m.root}
	rest := parts(dir)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = at[:max(len(at)-1, 1)]
			continue
		}
		here := at[len(at)-1]
		next := here.children[name]
		switch {
		case next == nil && !makes:
			return nil, nil
		case next == nil:
			next = newDir(name, m.layer)
			here.children[name] = next
		case next.children == nil && next.h.Typeflag == tar.TypeSymlink:
			if links++; links > mostLinks {
				return nil, errors.New("too many symbolic links")
			}
			if strings.HasPrefix(next.h.Linkname, "/") {
				at = at[:1]
			}
			rest = append(parts(next.h.Linkname), rest...)
			continue
		case next.children == nil:
			return nil, errNotDir
		}
		at = append(at, next)
	}
	return at[len(at)-1], nil
}

// target returns the file that a hard link names.
func (m *merger) target(name string) (*node, error) {
	dir, base := path.Split(strings.TrimPrefix(path.Clean("/"+name), "/"))
	parent, err := m.lookup(dir, false)
	if err != nil {
		return nil, err
	}
	if parent == nil || parent.children[base] == nil {
		return nil, errors.New("no such file")
	}
	n := parent.children[base]
	if n.children != nil {
		return nil, errors.New("a directory")
	}
	return n, nil
}

// parts returns the names in a path.
func parts(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

// records returns the records of a header that a root image can hold: extended attributes except
// access control lists, and those that would instruct the guest's overlayfs.
func records(all map[string]string) map[string]string {
	var kept map[string]string
	for key, value := range all {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	return kept
}

// finish makes the tree one that a machine can boot from. dirs are made if they are missing.
func (m *merger) finish(dirs []string) {
	for _, dir := range dirs {
		m.lookup(dir, true) // an error means that a file is in its place, which the program sees
	}
	// vm-init mounts on these.
	for _, name := range []string{"dev", "proc", "sys"} {
		if n := m.root.children[name]; n != nil && n.children == nil {
			delete(m.root.children, name)
		}
	}
	// The image package has its own.
	for _, name := range []string{"dev/null", "dev/console", "sbin/vm-init", "usr/sbin/vm-init"} {
		dir, base := path.Split(name)
		if parent, err := m.lookup(dir, false); err == nil && parent != nil {
			delete(parent.children, base)
		}
	}
}

// collect returns the directories, each after the one above it, and the other files in the order of
// their first names.
func (m *merger) collect() (dirs, files []*inode) {
	var walk func(prefix string, n *node)
	walk = func(prefix string, n *node) {
		names := make([]string, 0, len(n.children))
		for name := range n.children {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			child := n.children[name]
			if child.names = append(child.names, prefix+name); len(child.names) > 1 {
				continue
			}
			if child.children == nil {
				files = append(files, child.inode)
				continue
			}
			dirs = append(dirs, child.inode)
			walk(prefix+name+"/", child)
		}
	}
	walk("", m.root)
	return dirs, files
}
