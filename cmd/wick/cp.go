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
	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// cpCommand returns wick cp.
func (t *tool) cpCommand() *cobra.Command {
	cp := copier{t: t}
	cmd := &cobra.Command{
		Use:   "cp [-a | --chown OWNER] SOURCE TARGET",
		Short: "Copy files and directories into the guest, or out of it",
		Long: `Copy a file, or a directory with everything in it, into the guest or out of it. A path in
a machine of wick run -d is MACHINE:PATH, and one in the guest that --to names is :PATH.
Write ./ before a local path that has a colon.

If TARGET is an existing directory, the copy is made in it. Otherwise TARGET is the name
of the copy. If SOURCE ends in /. only the contents of the directory are copied, into
TARGET. The copy keeps modes, times, symbolic and hard links, holes and extended
attributes. With -a it keeps owners, by number. Without -a the copy belongs to the user
that writes it, and a file loses its set-user-ID and set-group-ID bits and its
capabilities. --chown gives the copy to another user, named as on the side that is
written. A file is replaced in one step. wick reports what it leaves out, such as sockets.

If SOURCE is - a tar is read from stdin and unpacked into TARGET. It may be compressed by
gzip, zstd, xz or bzip2. If TARGET is - a tar of SOURCE is written to stdout, with holes in
GNU tar's format. No program is needed in the guest.

Symbolic links to directories in TARGET are followed if they stay inside it. A link that
leads out is an error.`,
		Example: `  wick cp app.conf web:/etc/app.conf
  wick cp ./src :/srv
  wick cp :/var/log/. ./logs
  wick cp :/srv - | tar -tv
  git archive HEAD | wick cp --chown www-data - :/srv/app`,
		Args:              needs("SOURCE", "TARGET"),
		ValidArgsFunction: t.completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			return cp.copy(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&cp.owners, "archive", "a", false, "keep owners, by number, set-ID bits and all attributes")
	cmd.Flags().StringVar(&cp.chown, "chown", "", "give the copy to this `OWNER`: USER[:GROUP], each a name or a number")
	return cmd
}

// A copier copies for one wick cp.
type copier struct {
	t      *tool
	owners bool
	chown  string
	owner  *client.Owner // the ids of chown, or nil
	c      *client.Client
	bar    *bar
}

func (cp *copier) copy(ctx context.Context, source, target string) error {
	from, out := cp.guestPath(source)
	to, in := cp.guestPath(target)
	switch {
	case in == out:
		return exit.Usage(errors.New("cp: either SOURCE or TARGET must be in the guest: MACHINE:PATH, or :PATH with --to"))
	case cp.owners && cp.chown != "":
		return exit.Usage(errors.New("cp: -a keeps owners and --chown changes them; leave one of them out"))
	case cp.chown != "" && to == "-":
		return exit.Usage(errors.New("cp: --chown cannot be used with a tar on stdout"))
	case from == "" || to == "":
		return exit.Usage(errors.New("cp: a path is empty"))
	}
	// A missing SOURCE is reported without a guest.
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

// guestPath returns the path of an argument, and whether it is in the guest.
func (cp *copier) guestPath(arg string) (path string, guest bool) {
	if path, guest = strings.CutPrefix(arg, ":"); guest || cp.t.to != "" && !strings.HasPrefix(cp.t.to, machineForm) {
		return path, guest
	}
	name, path, found := strings.Cut(arg, ":")
	if !found || !isMachineName(name) {
		return arg, false
	}
	cp.t.to = machineForm + name
	return path, true
}

// tarOptions returns the options for the guest's side of a tree.
func (cp *copier) tarOptions() client.TarOptions {
	return client.TarOptions{
		NoOwner: !cp.owners, Attributes: true,
		Note:     cp.noteOn,
		Progress: func(name string, n int64) { cp.bar.count(name, n) },
	}
}

// fileMode returns the mode of a copy. Set-ID bits are kept only with the owner, because with
// another they would give other rights.
func (cp *copier) fileMode(info fs.FileInfo) fs.FileMode {
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if !cp.owners {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return mode
}

// localOptions returns the options for the local side of a tree.
func (cp *copier) localOptions(source string) client.TarOptions {
	return client.TarOptions{
		NoOwner: !cp.owners, Owner: cp.owner, Attributes: true, Contents: contents(source), Note: cp.noteOn,
	}
}

// noteOn reports what the copy of an entry lacks.
func (cp *copier) noteOn(name, reason string) {
	if why, ok := strings.CutPrefix(reason, "left out: "); ok {
		name, reason = "left out "+name, why
	}
	if !cp.owners && (strings.HasSuffix(reason, " is left out") || reason == "it is a device") {
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

// into copies source into the guest.
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
			name = filepath.ToSlash(full) // its last part is not ..
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
	if o.Mode == 0 { // in the options 0 is the default mode
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

// outOf copies source out of the guest.
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
	if path.Base(name) == ".." { // not a name for a copy
		if name, err = cp.c.RealPath(ctx, source); err != nil {
			return err
		}
	}
	target = place(name, target, isDir)
	if !info.IsDir() {
		return cp.fileOutOf(ctx, source, target, info)
	}
	return through(ctx, func(ctx context.Context, w io.Writer) error { return cp.c.TarFrom(ctx, source, w, cp.tarOptions()) },
		func(_ context.Context, r io.Reader) error {
			return client.UnpackDir(r, target, cp.localOptions(source))
		})
}

// fileOutOf copies a file out of the guest. It replaces an existing regular file in one step. It
// writes to anything else, such as a device or a pipe.
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

// treeInto copies a local directory into the guest.
func (cp *copier) treeInto(ctx context.Context, source, target string) error {
	cp.bar.size = cp.treeSize(source)
	return through(ctx, func(_ context.Context, w io.Writer) error { return client.PackDir(w, source, cp.localOptions(source)) },
		func(ctx context.Context, r io.Reader) error { return cp.c.TarTo(ctx, r, target, cp.intoOptions()) })
}

// note reports something that the copy leaves out.
func (cp *copier) note(text string) {
	cp.bar.clear()
	fmt.Fprintf(cp.t.stderr, "wick: cp: %s\n", output.Printable(text))
}

// treeSize returns the size of all readable files of a tree in bytes, or -1 if no bar is shown.
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
