package main

import (
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

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/archive"
	"wick/cmd/wick/internal/machine"
	"wick/framing/client"
)

// cpCommand is "wick cp".
func (t *tool) cpCommand() *cobra.Command {
	cp := copier{t: t}
	cmd := &cobra.Command{
		Use:   "cp [-a | --chown OWNER] SOURCE TARGET",
		Short: "Copy files and directories into the guest, or out of it",
		Long: `Copy a file, or a directory with all that is in it, into the guest or out of it. A path in
the guest is written with a colon before it; a local one that begins with a colon needs ./
before that.

If TARGET is a directory that is there, the copy is made in it; else TARGET is the copy's
own name. A SOURCE that ends in /. is copied without itself: what is in it goes into
TARGET. Modes, times, symbolic and hard links, holes and extended attributes are kept,
and with -a owners, by their numbers; without it the copy belongs to who writes it, and
a file loses its set-user-ID and set-group-ID bits and its capabilities. --chown gives
everything to another, by the names of the side that is written. A file is replaced in
one step. wick says what is left out, such as sockets.

SOURCE may be - for a tar on stdin, which is unpacked into TARGET, and TARGET - for a tar of
SOURCE on stdout, in which files with holes are as GNU tar has them. A tar that is
compressed by gzip, zstd, xz or bzip2 is unpacked too. In the guest nothing is needed
for it. Symbolic links to directories in TARGET are followed as long as they stay inside
it; what leads out is an error.`,
		Example: `  wick cp app.conf :/etc/app.conf
  wick cp ./src :/srv
  wick cp :/var/log/. ./logs
  wick cp :/srv - | tar -tv
  git archive HEAD | wick cp --chown www-data - :/srv/app`,
		Args: needs("SOURCE", "TARGET"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return cp.copy(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&cp.owners, "archive", "a", false, "keep owners, by their numbers, and what depends on them")
	cmd.Flags().StringVar(&cp.chown, "chown", "", "give the copy to this `OWNER`: a user, by name or number, with :GROUP or not")
	return cmd
}

// A copier is one wick cp.
type copier struct {
	t      *tool
	owners bool
	chown  string
	owner  *client.Owner // that chown is
	c      *client.Client
	bar    *bar
}

func (cp *copier) copy(ctx context.Context, source, target string) error {
	from, out := strings.CutPrefix(source, ":")
	to, in := strings.CutPrefix(target, ":")
	switch {
	case in == out:
		return usageError(errors.New("cp: one of SOURCE and TARGET is in the guest, and has a colon before it"))
	case cp.owners && cp.chown != "":
		return usageError(errors.New("cp: -a keeps owners and --chown gives another; leave one of them out"))
	case cp.chown != "" && to == "-":
		return usageError(errors.New("cp: --chown is for a copy, and not for a tar on stdout"))
	case from == "" || to == "":
		return usageError(errors.New("cp: a path is empty"))
	}
	// What is wrong here shows before the guest is asked.
	if in && from != "-" {
		if _, err := os.Stat(from); err != nil {
			return err
		}
	}
	c, err := cp.t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	cp.c = c
	if err := cp.findOwner(ctx, in); err != nil {
		return err
	}
	cp.bar = newBar(cp.t.stderr, source, -1)
	defer func() { cp.bar.clear() }()
	if in {
		return cp.into(ctx, from, to)
	}
	return cp.outOf(ctx, from, to)
}

// tarOptions are those of a tree.
func (cp *copier) tarOptions() client.TarOptions {
	return client.TarOptions{
		NoOwner: !cp.owners, Attributes: true,
		Note:     cp.treeOptions("").noteOn,
		Progress: func(name string, n int64) { cp.bar.count(name, n) },
	}
}

// fileMode is the mode of a copy that belongs to who writes it, or to the same owner as what is copied: only then its set-ID bits mean the same.
func (cp *copier) fileMode(info fs.FileInfo) fs.FileMode {
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if !cp.owners {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return mode
}

// treeOptions are those of this side's half of it.
func (cp *copier) treeOptions(source string) treeOptions {
	return treeOptions{owners: cp.owners, owner: cp.owner, contents: contents(source), note: cp.note}
}

// place is where a copy of source goes: into target if that is a directory that is there, unless it is the contents that are copied.
func place(source, target string, isDir bool) string {
	if base := path.Base(source); isDir && !contents(source) && base != "/" {
		return path.Join(target, base)
	}
	return target
}

// contents reports whether a source is copied without itself.
func contents(source string) bool {
	return source == "." || strings.HasSuffix(source, "/.")
}

// into copies into the guest.
func (cp *copier) into(ctx context.Context, source, target string) error {
	if source == "-" {
		cp.bar.name = "stdin"
		tar, err := archive.Decompress(cp.t.stdin)
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		return cp.c.TarTo(ctx, tar, target, cp.intoOptions())
	}
	source = filepath.ToSlash(source)
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := cp.c.Stat(ctx, target)
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
			name = filepath.ToSlash(full) // whose last part is no ..
		}
	}
	target = place(name, target, isDir)
	if !info.IsDir() {
		return cp.fileInto(ctx, source, target, info)
	}
	return cp.treeInto(ctx, source, target)
}

// fileInto copies a file into the guest.
func (cp *copier) fileInto(ctx context.Context, source, target string, info fs.FileInfo) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	o := client.WriteOptions{Mode: cp.fileMode(info)}
	o.Owner = cp.owner
	if uid, gid, ok := ownerOf(info); ok && cp.owners {
		o.Owner = &client.Owner{UID: uid, GID: gid}
	}
	if info.Mode().IsRegular() {
		cp.bar.size = info.Size()
	}
	if err := cp.send(ctx, f, info, target, o); err != nil {
		return err
	}
	if o.Mode == 0 { // which in the options is none
		if err := cp.c.Chmod(ctx, target, o.Mode); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := cp.attributesInto(ctx, source, target); err != nil {
		return err
	}
	return cp.c.Chtimes(ctx, target, info.ModTime())
}

// outOf copies out of the guest.
func (cp *copier) outOf(ctx context.Context, source, target string) error {
	info, err := cp.c.Stat(ctx, source)
	if err != nil {
		return err
	}
	if target == "-" {
		o := cp.tarOptions()
		o.NoOwner = false
		if name := path.Base(source); !contents(source) && name != "/" {
			o.Prefix = name
		}
		return cp.c.TarFrom(ctx, source, cp.t.stdout, o)
	}
	there, err := os.Stat(target)
	isDir := err == nil && there.IsDir()
	if !isDir && strings.HasSuffix(target, "/") && !info.IsDir() {
		return &fs.PathError{Op: "cp", Path: target, Err: errors.New("there is no such directory")}
	}
	name := source
	if path.Base(name) == ".." { // which is no name for a copy
		if name, err = cp.c.RealPath(ctx, source); err != nil {
			return err
		}
	}
	target = place(name, target, isDir)
	if !info.IsDir() {
		return cp.fileOutOf(ctx, source, target, info)
	}
	return through(ctx, func(ctx context.Context, w io.Writer) error { return cp.c.TarFrom(ctx, source, w, cp.tarOptions()) },
		func(_ context.Context, r io.Reader) error { return unpackTree(r, target, cp.treeOptions(source)) })
}

// fileOutOf copies a file out of the guest. It takes the place of one that is there in one step, but what is no regular file, as a device or a
// pipe, is written to.
func (cp *copier) fileOutOf(ctx context.Context, source, target string, info *client.FileInfo) error {
	r, err := cp.c.OpenRead(ctx, source, 0, 0)
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
		_, err = io.Copy(f, cp.bar.reader(r))
		return errors.Join(err, f.Close())
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real // what a link leads to is replaced, and not the link
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
	case cp.owners:
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

// putTree copies a local directory into the guest, where it has that name.
func (t *tool) putTree(ctx context.Context, c *client.Client, p machine.Put) error {
	cp := copier{t: t, c: c, bar: newBar(t.stderr, p.Local, -1)}
	defer cp.bar.clear()
	return cp.treeInto(ctx, p.Local, p.Guest)
}

// treeInto copies a local directory into the guest.
func (cp *copier) treeInto(ctx context.Context, source, target string) error {
	cp.bar.size = cp.treeSize(source)
	return through(ctx, func(_ context.Context, w io.Writer) error { return packTree(w, source, cp.treeOptions(source)) },
		func(ctx context.Context, r io.Reader) error { return cp.c.TarTo(ctx, r, target, cp.intoOptions()) })
}

// note says what is left out of a copy.
func (cp *copier) note(text string) {
	cp.bar.clear()
	fmt.Fprintf(cp.t.stderr, "wick: cp: %s\n", printable(text))
}

// treeSize is the size of all files of a tree, as far as it can be told, if somebody looks at the bar.
func (cp *copier) treeSize(dir string) (size int64) {
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

// through has what write writes read by read. The error is that of the one that failed first, and ends the other.
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
		cancel() // it may wait for a guest, and not to write
	}
	if werr := <-done; err == nil {
		return werr
	}
	return err
}
