package client

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// dirPacker packs the tree of one PackDir.
type dirPacker struct {
	o     *TarOptions
	w     io.Writer
	out   *tar.Writer
	dir   string
	links map[localID]string // the first names of files with several
	// changed is the error of the first file that changed while it was read. The rest is copied.
	changed error
}

// PackDir writes a directory of this host as a tar, as [Client.TarFrom] writes one of the guest:
// with what is in it, and with the directory itself under "." unless o has Contents. On Linux the
// tar has hard links, holes and extended attributes. Devices are left out with NoOwner, because
// they are rights, and sockets always.
//
// A file that shrinks is padded with zeros. Then the error is an [*fs.PathError] with
// io.ErrUnexpectedEOF, after everything else was written. One that is removed meanwhile is an error
// at the end, too.
func PackDir(w io.Writer, dir string, o TarOptions) error {
	p := dirPacker{o: &o, w: w, out: tar.NewWriter(w), dir: filepath.Clean(dir) + string(filepath.Separator), links: map[localID]string{}}
	err := filepath.WalkDir(p.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = p.entry(name, d)
		}
		if errors.Is(err, fs.ErrNotExist) && name != p.dir {
			p.o.note(name, "it was removed while it was read")
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

func (p *dirPacker) change(err error) {
	if p.changed == nil {
		p.changed = err
	}
}

func (p *dirPacker) entry(name string, d fs.DirEntry) error {
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
		p.o.note(name, "left out: it is a socket")
		return nil
	default:
		if p.o.NoOwner {
			p.o.note(name, "left out: it is a device")
			return nil
		}
	}
	if p.o.Contents && name == p.dir {
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
	if id, ok := linkedLocal(info); ok {
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
	return p.content(h, f)
}

// attributes adds the extended attributes of a file or directory to its header.
func (p *dirPacker) attributes(h *tar.Header, name string) {
	if !p.o.Attributes || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return
	}
	all, err := LocalAttributes(name)
	if err != nil {
		p.o.note(name, "its extended attributes are lost: "+err.Error())
	}
	for attribute, value := range all {
		if !p.o.Keeps(attribute) {
			p.o.note(name, "its attribute "+attribute+" is left out")
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+attribute] = value
	}
}

// content writes a regular file. If the file has shrunk it is padded with zeros.
func (p *dirPacker) content(h *tar.Header, f *os.File) error {
	missing := int64(0)
	if extents, holes := LocalExtents(f); holes {
		err := WriteSparse(p.out, p.w, h, extents, func(w io.Writer) error {
			for _, e := range extents {
				n, err := io.Copy(w, io.NewSectionReader(f, int64(e.Offset), int64(e.Length)))
				if err != nil {
					return err
				}
				if n < int64(e.Length) {
					missing += int64(e.Length) - n
					if _, err := io.CopyN(w, zeroes{}, int64(e.Length)-n); err != nil {
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
			_, err = io.CopyN(p.out, zeroes{}, missing)
		}
		if err != nil {
			return err
		}
	}
	if missing > 0 {
		p.o.note(f.Name(), "it shrank while it was read; the rest of the copy is zeros")
		p.change(&fs.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF})
	}
	return nil
}
