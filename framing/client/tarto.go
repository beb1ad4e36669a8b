package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// smallFile is the size up to which a file of an archive is held in memory, to be sent beside
// others, in bytes.
const smallFile = 64 << 10

// A TarError is an entry of an archive that cannot be unpacked.
type TarError struct {
	// Name is the name of the entry.
	Name string
	// Reason is lower case.
	Reason string
	// Err is the cause, or nil: [tar.ErrHeader] if the input is not an archive, ELOOP for a
	// symbolic link that leads out of the directory.
	Err error
}

// Unwrap returns Err.
func (e *TarError) Unwrap() error { return e.Err }

// Error reads "tar: NAME: REASON", or "tar: REASON" without a name.
func (e *TarError) Error() string {
	if e.Name == "" {
		return "tar: " + e.Reason
	}
	return fmt.Sprintf("tar: %s: %s", e.Name, e.Reason)
}

// TarTo unpacks the tar that r gives into dir in the guest, and makes dir if it is missing. It
// makes directories, files, symbolic and hard links, devices and FIFOs, with modes, numeric owners
// and times. It sets extended attributes if the options say so. [TarReader] says which types of
// entries there are. Files replace existing ones in one step each; holes stay holes. Small files
// are sent several at a time.
//
// A symbolic link to a directory below dir is followed, whether the archive made it or it was
// there: a directory in the archive that meets one is its target. Names and links that lead out of
// dir are a [*TarError], unless [TarOptions] has Follow. An entry that the guest's agent cannot
// make is passed to Note, or else a [*TarError]. Otherwise the error is r's, or as for
// [Client.Stat]. Entries unpacked before an error stay.
func (c *Client) TarTo(ctx context.Context, r io.Reader, dir string, o TarOptions) error {
	resolved, err := c.RealPath(ctx, dir)
	if err != nil {
		return err
	}
	if err := c.MkdirAll(ctx, resolved, 0o755); err != nil {
		return err
	}
	t := &tarUnpacker{c: c, o: &o, dir: resolved, flags: o.flags(), work: newPipeline(ctx), had: map[string]bool{}, linked: map[string]bool{}, made: map[string]chan struct{}{}}
	in := NewTarReader(r, t.note)
	for {
		h, err := in.Next()
		if err == nil {
			err = t.entry(h, in)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.work.fail(err)
			return t.work.wait()
		}
	}
	t.finishDirs()
	return t.work.wait()
}

// tarUnpacker unpacks the tar of one TarTo.
type tarUnpacker struct {
	c     *Client
	o     *TarOptions
	dir   string
	flags []FileFlags
	work  *pipeline
	dirs  []*tar.Header // modes and times are set when their content is complete
	// had has the paths of the entries so far and all paths above them; true for what is not a
	// directory.
	had map[string]bool

	telling sync.Mutex
	linking sync.Mutex
	// directories in the archive that are links in the guest, and keep their attributes
	linked map[string]bool
	made   map[string]chan struct{} // closed when the directory of an entry is made
}

// note reports what is left out.
func (t *tarUnpacker) note(name, reason string) {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.o.note(name, reason)
}

func (t *tarUnpacker) progress(name string, n int64) {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.o.progress(name, n)
}

// path returns the guest's path of a name in the archive.
func (t *tarUnpacker) path(h *tar.Header, name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", &TarError{Name: h.Name, Reason: fmt.Sprintf("%q leads out of the directory", name)}
		}
	}
	return path.Join(t.dir, path.Join("/", name)), nil
}

// entry unpacks an entry, or starts to.
func (t *tarUnpacker) entry(h *tar.Header, content *TarReader) error {
	name, err := t.path(h, h.Name)
	if err != nil {
		return err
	}
	t.progress(h.Name, 0)
	if t.depends(name, h.Typeflag != tar.TypeDir) {
		if err := t.work.drained(); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		t.dirs = append(t.dirs, h)
		// Its content may come first, and makes it.
		done := make(chan struct{})
		t.linking.Lock()
		t.made[name] = done
		t.linking.Unlock()
		t.work.do(func(ctx context.Context) error {
			defer close(done)
			return t.makeDir(ctx, h, name)
		})
	case tar.TypeReg:
		return t.file(h, name, content)
	case tar.TypeSymlink:
		t.work.do(func(ctx context.Context) error {
			at, err := t.within(ctx, h, name, func(name string) error {
				return t.replace(ctx, name, func() error { return t.c.Symlink(ctx, h.Linkname, name, t.flags...) })
			})
			return t.meta(ctx, h, at, err)
		})
	case tar.TypeLink:
		old, err := t.path(h, h.Linkname)
		if err != nil {
			return err
		}
		if err := t.work.drained(); err != nil { // the file must exist
			return err
		}
		t.work.do(func(ctx context.Context) error {
			return t.link(ctx, h, old, name)
		})
	default:
		t.work.do(func(ctx context.Context) error { return t.node(ctx, h, name) })
	}
	return context.Cause(t.work.ctx)
}

// depends reports whether an entry depends on an earlier one, so that it cannot be made
// concurrently. They have the same path, or one is above the other and is not a directory.
func (t *tarUnpacker) depends(name string, leaf bool) bool {
	had, there := t.had[name]
	again := there && (leaf || had)
	t.had[name] = leaf
	for above := path.Dir(name); len(above) > len(t.dir); above = path.Dir(above) {
		again = again || t.had[above]
		t.had[above] = false // it is a directory by then, or there is an error
	}
	return again
}

// file sends a file: a small one beside others, a large one at once.
func (t *tarUnpacker) file(h *tar.Header, name string, content *TarReader) error {
	options := WriteOptions{Mode: t.o.mode(h.FileInfo().Mode()), Parents: true, Safe: !t.o.Follow}
	options.Owner = t.owner(h)
	sparse := content.Sparse()
	send := func(ctx context.Context, r io.Reader) error {
		counted := &countingReader{r, func(n int) { t.progress(h.Name, int64(n)) }}
		at, err := t.within(ctx, h, name, func(name string) error { return t.write(ctx, name, counted, sparse, options) })
		return t.meta(ctx, h, at, err)
	}
	if h.Size > smallFile || sparse {
		return send(t.work.ctx, content)
	}
	small := make([]byte, h.Size)
	if _, err := io.ReadFull(content, small); err != nil {
		return err
	}
	t.work.do(func(ctx context.Context) error { return send(ctx, bytes.NewReader(small)) })
	return context.Cause(t.work.ctx)
}

type countingReader struct {
	r     io.Reader
	count func(int)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count(n)
	return n, err
}

// replace makes something where something may exist.
func (t *tarUnpacker) replace(ctx context.Context, name string, create func() error) error {
	err := create()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = t.c.MkdirAll(ctx, path.Dir(name), 0o755, t.flags...)
	case errors.Is(err, fs.ErrExist):
		err = t.c.Remove(ctx, name, t.flags...)
	default:
		return err
	}
	if err != nil {
		return err
	}
	return create()
}

// meta sets what making an entry has not set, unless err is an error.
func (t *tarUnpacker) meta(ctx context.Context, h *tar.Header, name string, err error) error {
	if err != nil {
		return err
	}
	flags := append([]FileFlags{NoFollow}, t.flags...)
	if owner := t.owner(h); owner != nil && h.Typeflag != tar.TypeReg {
		if err := t.c.Chown(ctx, name, owner.UID, owner.GID, flags...); err != nil {
			return err
		}
	}
	t.attributes(ctx, h, name)
	mode := t.o.mode(h.FileInfo().Mode())
	if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeReg && mode == 0 { // after the owner, because chown clears setgid
		if err := t.c.Chmod(ctx, name, mode, t.flags...); err != nil {
			return err
		}
	}
	if h.ModTime.IsZero() {
		return nil
	}
	err = t.c.Chtimes(ctx, name, h.ModTime, flags...)
	if h.Typeflag == tar.TypeSymlink && errors.Is(err, syscall.EOPNOTSUPP) {
		return nil // a file system whose links have no times
	}
	return err
}

// finishDirs sets the modes, owners and times of directories, the deepest first, because the agent
// may not be able to enter them afterwards.
func (t *tarUnpacker) finishDirs() {
	depth := func(h *tar.Header) int { return strings.Count(path.Clean(h.Name), "/") }
	slices.SortStableFunc(t.dirs, func(a, b *tar.Header) int { return depth(b) - depth(a) })
	for i, h := range t.dirs {
		if i == 0 || depth(h) < depth(t.dirs[i-1]) {
			if t.work.drained() != nil {
				return
			}
		}
		name, err := t.path(h, h.Name)
		t.work.do(func(ctx context.Context) error {
			if err != nil || t.linked[name] {
				return err
			}
			at, err := t.within(ctx, h, name, func(name string) error { return t.meta(ctx, h, name, nil) })
			if errors.Is(err, syscall.ELOOP) && at == name {
				return nil // a link has replaced it
			}
			return err
		})
	}
}
