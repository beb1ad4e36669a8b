package copying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"wick/cmd/wick/internal/accounts"
	"wick/cmd/wick/internal/archive"
	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// A Copier makes one copy, between a guest and this machine.
type Copier struct {
	Guest          *client.Client
	Stdin          io.Reader // a tar, if the source is -
	Stdout, Stderr io.Writer // for a tar, if the target is -; for notes and the bar
	Owners         bool      // owners, set-ID bits and all attributes are kept
	Chown          string    // USER[:GROUP] that the copy is given to, or ""
	Name           string    // shown beside the bar, by default the source

	owner *client.Owner // the ids of chown, or nil
	bar   *Bar
}

// begin looks up the new owner on the side that is written, which is this machine if c is nil. It
// makes the bar.
func (cp *Copier) begin(ctx context.Context, c *client.Client, source string) (err error) {
	if cp.Chown != "" {
		if cp.owner, err = accounts.Owner(ctx, c, cp.Chown); err != nil {
			return exit.Usage(fmt.Errorf("cp: --chown: %w", err))
		}
	}
	cp.bar = NewBar(cp.Stderr, cmp.Or(cp.Name, source), -1)
	return nil
}

// tarOptions returns the options for the guest's side of a tree.
func (cp *Copier) tarOptions() client.TarOptions {
	return client.TarOptions{
		NoOwner: !cp.Owners, Attributes: true,
		Note:     cp.noteOn,
		Progress: func(name string, n int64) { cp.bar.count(name, n) },
	}
}

// fileMode returns the mode of a copy. Set-ID bits are kept only with the owner, because with
// another they would give other rights.
func (cp *Copier) fileMode(info fs.FileInfo) fs.FileMode {
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if !cp.Owners {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return mode
}

// localOptions returns the options for the local side of a tree.
func (cp *Copier) localOptions(source string) client.TarOptions {
	return client.TarOptions{
		NoOwner: !cp.Owners, Owner: cp.owner, Attributes: true, Contents: contents(source), Note: cp.noteOn,
	}
}

// noteOn reports what the copy of an entry lacks.
func (cp *Copier) noteOn(name, reason string) {
	if why, ok := strings.CutPrefix(reason, "left out: "); ok {
		name, reason = "left out "+name, why
	}
	if !cp.Owners && (strings.HasSuffix(reason, " is left out") || reason == "it is a device") {
		reason += " (-a keeps it)"
	}
	cp.note(name + ": " + reason)
}

// place returns the path of a copy of source. It is in target if that is an existing directory,
// unless only the contents are copied.
func place(source, target string, isDir bool) string {
	if base := path.Base(source); isDir && !contents(source) && base != "/" {
		return path.Join(target, base)
	}
	return target
}

// contents reports whether only the contents of the directory source are copied.
func contents(source string) bool {
	return source == "." || strings.HasSuffix(source, "/.")
}

// Into copies source into the guest.
func (cp *Copier) Into(ctx context.Context, source, target string) error {
	if err := cp.begin(ctx, cp.Guest, source); err != nil {
		return err
	}
	defer cp.bar.Clear()
	if source == "-" {
		cp.bar.name = "stdin"
		tar, err := archive.Decompress(cp.Stdin)
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		return cp.Guest.TarTo(ctx, tar, target, cp.intoOptions())
	}
	source = filepath.ToSlash(source)
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := cp.Guest.Stat(ctx, target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isDir := err == nil && there.IsDir()
	if !isDir && strings.HasSuffix(target, "/") && !info.IsDir() {
		return &fs.PathError{Op: "cp", Path: ":" + target, Err: errors.New("there is no such directory in the guest")}
	}
	name := source
	if !contents(source) {
		if full, err := filepath.Abs(source); err == nil {
			name = filepath.ToSlash(full) // its last part is not ..
		}
	}
	target = place(name, target, isDir)
	if !info.IsDir() {
		return cp.fileInto(ctx, source, target, info)
	}
	return cp.tree(ctx, source, target)
}

// fileInto copies a file into the guest.
func (cp *Copier) fileInto(ctx context.Context, source, target string, info fs.FileInfo) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	o := client.WriteOptions{Mode: cp.fileMode(info)}
	o.Owner = cp.owner
	if uid, gid, ok := ownerOf(info); ok && cp.Owners {
		o.Owner = &client.Owner{UID: uid, GID: gid}
	}
	if info.Mode().IsRegular() {
		cp.bar.size = info.Size()
	}
	if err := cp.send(ctx, f, info, target, o); err != nil {
		return err
	}
	if o.Mode == 0 { // in the options 0 is the default mode
		if err := cp.Guest.Chmod(ctx, target, o.Mode); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := cp.attributesInto(ctx, source, target); err != nil {
		return err
	}
	return cp.Guest.Chtimes(ctx, target, info.ModTime())
}

// OutOf copies source out of the guest.
func (cp *Copier) OutOf(ctx context.Context, source, target string) error {
	if err := cp.begin(ctx, nil, source); err != nil {
		return err
	}
	defer cp.bar.Clear()
	info, err := cp.Guest.Stat(ctx, source)
	if err != nil {
		return err
	}
	if target == "-" {
		o := cp.tarOptions()
		o.NoOwner = false
		if name := path.Base(source); !contents(source) && name != "/" {
			o.Prefix = name
		}
		return cp.Guest.TarFrom(ctx, source, cp.Stdout, o)
	}
	there, err := os.Stat(target)
	isDir := err == nil && there.IsDir()
	if !isDir && strings.HasSuffix(target, "/") && !info.IsDir() {
		return &fs.PathError{Op: "cp", Path: target, Err: errors.New("there is no such directory")}
	}
	name := source
	if path.Base(name) == ".." { // not a name for a copy
		if name, err = cp.Guest.RealPath(ctx, source); err != nil {
			return err
		}
	}
	target = place(name, target, isDir)
	if !info.IsDir() {
		return cp.fileOutOf(ctx, source, target, info)
	}
	return through(ctx, func(ctx context.Context, w io.Writer) error { return cp.Guest.TarFrom(ctx, source, w, cp.tarOptions()) },
		func(_ context.Context, r io.Reader) error {
			return client.UnpackDir(r, target, cp.localOptions(source))
		})
}

// fileOutOf copies a file out of the guest. It replaces an existing regular file in one step. It
// writes to anything else, such as a device or a pipe.
func (cp *Copier) fileOutOf(ctx context.Context, source, target string, info *client.FileInfo) error {
	r, err := cp.Guest.OpenRead(ctx, source, 0, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	if info.Mode().IsRegular() && info.Size() > 0 {
		cp.bar.size = info.Size()
	}
	if there, err := os.Stat(target); err == nil && !there.Mode().IsRegular() {
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, cp.bar.Reader(r))
		return errors.Join(err, f.Close())
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved // replaces the target of a link, not the link
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".wick-*")
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: "create", Path: target, Err: e.Err}
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = cp.receive(ctx, f, r, source, info)
	switch {
	case err != nil:
	case cp.owner != nil:
		err = f.Chown(int(cp.owner.UID), int(cp.owner.GID))
	case cp.Owners:
		err = f.Chown(int(info.UID()), int(info.GID()))
	}
	if err == nil {
		cp.attributesOutOf(ctx, source, f)
		err = f.Chmod(cp.fileMode(info))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Chtimes(f.Name(), time.Time{}, info.ModTime()), os.Rename(f.Name(), target))
}

// TreeInto copies what a local directory has into one of the guest.
func (cp *Copier) TreeInto(ctx context.Context, source, target string) error {
	if err := cp.begin(ctx, cp.Guest, source); err != nil {
		return err
	}
	defer cp.bar.Clear()
	return cp.tree(ctx, source, target)
}

// tree copies a local directory into the guest.
func (cp *Copier) tree(ctx context.Context, source, target string) error {
	cp.bar.size = cp.treeSize(source)
	return through(ctx, func(_ context.Context, w io.Writer) error { return client.PackDir(w, source, cp.localOptions(source)) },
		func(ctx context.Context, r io.Reader) error { return cp.Guest.TarTo(ctx, r, target, cp.intoOptions()) })
}

// note reports something that the copy leaves out.
func (cp *Copier) note(text string) {
	cp.bar.Clear()
	fmt.Fprintf(cp.Stderr, "wick: cp: %s\n", output.Printable(text))
}

// treeSize returns the size of all readable files of a tree in bytes, or -1 if no bar is shown.
func (cp *Copier) treeSize(dir string) (size int64) {
	if cp.bar.w == nil {
		return -1
	}
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// through connects write to read by a pipe, and runs both. It returns the error of the first that
// fails, which ends the other.
func through(ctx context.Context, write func(context.Context, io.Writer) error, read func(context.Context, io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(ctx, w)
		w.CloseWithError(err)
		done <- err
	}()
	err := read(ctx, r)
	r.CloseWithError(err)
	if err != nil {
		cancel() // write may be waiting for the guest, not for the pipe
	}
	if werr := <-done; err == nil {
		return werr
	}
	return err
}
