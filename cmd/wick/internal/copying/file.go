package copying

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"wick/framing/client"
)

// intoOptions returns the options for a tree that is copied into the guest.
func (cp *Copier) intoOptions() client.TarOptions {
	o := cp.tarOptions()
	o.Owner = cp.owner
	return o
}

// send writes a local file to the guest, with its holes.
func (cp *Copier) send(ctx context.Context, f *os.File, info fs.FileInfo, target string, o client.WriteOptions) error {
	w, err := cp.Guest.Create(ctx, target, o)
	if err != nil {
		return err
	}
	if err := cp.pour(w, f, info); err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

func (cp *Copier) pour(w *client.FileWriter, f *os.File, info fs.FileInfo) error {
	extents, holes := client.LocalExtents(f)
	if !holes {
		_, err := w.ReadFrom(cp.bar.Reader(f))
		return err
	}
	at := int64(0)
	for _, e := range append(extents, client.Extent{Offset: uint64(info.Size())}) {
		if err := w.Skip(int64(e.Offset) - at); err != nil {
			return err
		}
		n, err := w.ReadFrom(cp.bar.Reader(io.NewSectionReader(f, int64(e.Offset), int64(e.Length))))
		if err != nil {
			return err
		}
		if at = int64(e.Offset + e.Length); n < int64(e.Length) {
			cp.note(fmt.Sprintf("%s shrank while it was read; the rest of the copy is zeros", f.Name()))
			if err := w.Skip(info.Size() - int64(e.Offset) - n); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// receive writes a file from the guest to the empty local file f, with its holes. r reads all of
// it.
func (cp *Copier) receive(ctx context.Context, f *os.File, r io.ReadCloser, source string, info *client.FileInfo) error {
	const worth = 64 << 10 // the smallest size in bytes for which to ask for holes
	if info.Mode().IsRegular() && info.Size() >= worth {
		extents, err := cp.Guest.Extents(ctx, source, info.Size())
		if err == nil && (len(extents) != 1 || extents[0].Length != uint64(info.Size())) {
			r.Close()
			return cp.receiveExtents(ctx, f, source, info.Size(), extents)
		}
	}
	_, err := io.Copy(f, cp.bar.Reader(r))
	return err
}

func (cp *Copier) receiveExtents(ctx context.Context, f *os.File, source string, size int64, extents []client.Extent) error {
	for _, e := range extents {
		r, err := cp.Guest.OpenRead(ctx, source, int64(e.Offset), int64(e.Length))
		if err != nil {
			return err
		}
		_, err = f.Seek(int64(e.Offset), io.SeekStart)
		if err == nil {
			_, err = io.Copy(f, cp.bar.Reader(r))
		}
		r.Close()
		if err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// attributesInto copies the extended attributes of a local file to one in the guest. It notes
// those that are lost.
func (cp *Copier) attributesInto(ctx context.Context, source, target string) error {
	o := cp.localOptions(source)
	path, err := cp.Guest.RealPath(ctx, target) // SetAttribute follows no link
	if err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	all, err := client.LocalAttributes(resolved)
	if err != nil {
		cp.note(fmt.Sprintf("%s: its extended attributes are lost: %v", source, err))
	}
	for attribute, value := range all {
		if !o.Keeps(attribute) {
			cp.note(fmt.Sprintf("%s: its attribute %s is left out (-a keeps it)", source, attribute))
			continue
		}
		err := cp.Guest.SetAttribute(ctx, path, attribute, []byte(value))
		if _, lost := errors.AsType[*client.ConnError](err); lost {
			return err
		}
		if err != nil {
			cp.note(fmt.Sprintf("%s: its attribute %s is lost: %v", source, attribute, err))
		}
	}
	return nil
}

// attributesOutOf copies the extended attributes of a file in the guest to a local one. It notes
// those that are lost.
func (cp *Copier) attributesOutOf(ctx context.Context, source string, f *os.File) {
	o := cp.localOptions(source)
	path, err := cp.Guest.RealPath(ctx, source)
	if err != nil {
		return
	}
	all, err := cp.Guest.Attributes(ctx, path)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		cp.note(fmt.Sprintf("%s: its extended attributes are lost: %v", source, err))
	}
	for attribute, value := range all {
		if !o.Keeps(attribute) {
			cp.note(fmt.Sprintf("%s: its attribute %s is left out (-a keeps it)", source, attribute))
		} else if err := client.SetLocalAttribute(f, attribute, value); err != nil {
			cp.note(fmt.Sprintf("%s: its attribute %s is lost: %v", source, attribute, err))
		}
	}
}
