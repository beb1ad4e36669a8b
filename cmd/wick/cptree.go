package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wick/framing/client"
)

// treeOptions has the options of copying a tree.
type treeOptions struct {
	// owners says that owners are kept.
	owners bool
	// owner, if not nil, is the owner of the copy.
	owner *client.Owner
	// contents says that only the contents are copied, and the target directory stays as it is.
	contents bool
	// note is called for everything that is left out.
	note func(string)
}

// keeps reports whether an extended attribute is copied. Without owners, only user attributes are,
// because the others may give rights.
func (o *treeOptions) keeps(attribute string) bool {
	return o.owners || strings.HasPrefix(attribute, "user.")
}

// noteOn calls note for an entry of a tar.
func (o treeOptions) noteOn(name, reason string) {
	if why, ok := strings.CutPrefix(reason, "left out: "); ok {
		o.note("left out " + name + ": " + why)
		return
	}
	o.note(name + ": " + reason)
}

// A packer packs the tree of one packTree.
type packer struct {
	treeOptions
	w     io.Writer
	out   *tar.Writer
	dir   string
	links map[fileID]string // the first names of files with several
	// changed is the error of the first file that changed while it was read. The rest is copied.
	changed error
}

// packTree writes a local directory as a tar, under ".". It leaves out sockets and the like, and
// notes them.
func packTree(w io.Writer, dir string, o treeOptions) error {
	p := packer{treeOptions: o, w: w, out: tar.NewWriter(w), dir: filepath.Clean(dir) + string(filepath.Separator), links: map[fileID]string{}}
	err := filepath.WalkDir(p.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = p.entry(name, d)
		}
		if errors.Is(err, fs.ErrNotExist) && name != p.dir {
			p.note(name + " was removed while it was read")
			p.change(err)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return p.changed
}

func (p *packer) change(err error) {
	if p.changed == nil {
		p.changed = err
	}
}

func (p *packer) entry(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	switch mode := info.Mode(); {
	case mode.IsDir(), mode.IsRegular(), mode&fs.ModeNamedPipe != 0:
	case mode&fs.ModeSymlink != 0:
		if target, err = os.Readlink(name); err != nil {
			return err
		}
	case mode&fs.ModeSocket != 0:
		p.note(fmt.Sprintf("left out %s: it is a socket", name))
		return nil
	default:
		if !p.owners {
			p.note(fmt.Sprintf("left out %s: it is a device (-a copies it)", name))
			return nil
		}
	}
	if p.contents && name == p.dir {
		return nil
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(p.dir, name)
	if err != nil {
		return err
	}
	h.Name, h.Format, h.AccessTime, h.ChangeTime = "./"+filepath.ToSlash(rel), tar.FormatPAX, time.Time{}, time.Time{}
	if info.IsDir() {
		h.Name += "/"
	}
	if id, ok := linkedFile(info); ok {
		if first, seen := p.links[id]; seen {
			h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
		} else {
			p.links[id] = h.Name
		}
	}
	if h.Typeflag != tar.TypeReg {
		p.attributes(h, name)
		return p.out.WriteHeader(h)
	}
	// The file is opened before its header is written, because it may have been removed.
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p.attributes(h, name)
	return p.content(h, f, info)
}

// attributes adds the extended attributes of a file or directory to its header.
func (p *packer) attributes(h *tar.Header, name string) {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return
	}
	all, err := localAttributes(name)
	if err != nil {
		p.note(fmt.Sprintf("%s: its extended attributes are lost: %v", name, err))
	}
	for attribute, value := range all {
		if !p.keeps(attribute) {
			p.note(fmt.Sprintf("%s: its attribute %s is left out (-a keeps it)", name, attribute))
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+attribute] = value
	}
}

// content writes a regular file. If the file has shrunk it is padded with zeros.
func (p *packer) content(h *tar.Header, f *os.File, info fs.FileInfo) error {
	missing := int64(0)
	if extents, holes := localExtents(f, info); holes {
		err := client.WriteSparse(p.out, p.w, h, extents, func(w io.Writer) error {
			for _, e := range extents {
				n, err := io.Copy(w, io.NewSectionReader(f, int64(e.Offset), int64(e.Length)))
				if err != nil {
					return err
				}
				if n < int64(e.Length) {
					missing += int64(e.Length) - n
					if _, err := io.CopyN(w, zeros{}, int64(e.Length)-n); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	} else {
		if err := p.out.WriteHeader(h); err != nil {
			return err
		}
		n, err := io.CopyN(p.out, f, h.Size)
		if errors.Is(err, io.EOF) {
			missing = h.Size - n
			_, err = io.CopyN(p.out, zeros{}, missing)
		}
		if err != nil {
			return err
		}
	}
	if missing > 0 {
		p.note(fmt.Sprintf("%s shrank while it was read; the rest of the copy is zeros", f.Name()))
		p.change(&fs.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF})
	}
	return nil
}

// zeros is an endless reader of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
