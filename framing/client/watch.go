package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"wick/framing"
)

// WatchOptions say what [Client.Watch] reports.
type WatchOptions struct {
	// Tree reports directories below the path, too. It does not enter other file systems.
	Tree bool
	// Attributes reports changes of mode, owner and times, too.
	Attributes bool
	// Safe fails if a symbolic link is anywhere in the path.
	Safe bool
	// Skip lists names that are not reported, and below which nothing is, such as ".git".
	Skip []string
}

// WatchKind says what a [WatchEvent] reports.
type WatchKind = framing.WatchKind

// A WatchEvent is a change of a file of the guest.
type WatchEvent struct {
	Kind WatchKind
	// Dir says that it is about a directory.
	Dir bool
	// Path is relative to the path that is watched, and "" for that itself. With
	// WatchRenamed, Other is the new path.
	Path, Other string
}

// watchWindow is the credit of a watch, in bytes.
const watchWindow = 64 << 10

// Watch yields changes of a directory of the guest, or of a single file, which may also be
// replaced or removed. The first event is [framing.WatchLook]: what was changed before it is not
// reported. It comes again when the guest has missed changes. The caller looks at the files then.
// A slow loop loses no changes, unless there are more than the guest's kernel holds.
//
// Events tell what has happened, and files may have changed since. An event may report what the
// caller has already seen. A renamed path that the caller does not know has a new place: look
// there.
//
// The last value is an error: the context's, or one as for [Client.Stat]. It wraps ENOENT when
// the path is gone or leads elsewhere, and ENOSPC when the guest has too many directories to
// watch.
func (c *Client) Watch(ctx context.Context, path string, o WatchOptions) iter.Seq2[WatchEvent, error] {
	return func(yield func(WatchEvent, error) bool) {
		err := c.watch(ctx, path, &o, func(e WatchEvent) bool { return yield(e, nil) })
		if err != nil {
			yield(WatchEvent{}, err)
		}
	}
}

// watch calls f for each event. It returns nil if f wants no more.
func (c *Client) watch(ctx context.Context, path string, o *WatchOptions, f func(WatchEvent) bool) error {
	w := framing.Watch{Path: []byte(path), Skip: []byte(strings.Join(o.Skip, "/"))}
	for _, flag := range []struct {
		set bool
		bit framing.WatchFlags
	}{{o.Tree, framing.WatchTree}, {o.Attributes, framing.WatchAttributes}, {o.Safe, framing.WatchSafe}} {
		if flag.set {
			w.Flags |= flag.bit
		}
	}
	if err := c.need(ctx, framing.FeatureWatch); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	d, err := c.download(ctx, "watch", path, watchWindow, 0, func(dst []byte, seq, credit uint32) []byte {
		w.Credit = credit
		return framing.AppendWatch(dst, seq, &w)
	})
	if err != nil {
		return err
	}
	defer d.Close()
	var rest []byte
	buf := make([]byte, watchWindow/2)
	for {
		n, err := d.Read(buf)
		if err == io.EOF {
			return c.broken(&framing.PayloadError{Type: framing.TypeWatch, Reason: "the watch ended without a reason"})
		}
		if err != nil {
			return err
		}
		rest = append(rest, buf[:n]...)
		at := rest
		for len(at) > 0 {
			r, next, err := framing.CutWatchRecord(at)
			if err != nil && len(at) < maxWatchRecord {
				break // the rest has not come
			}
			if err != nil {
				return c.broken(err)
			}
			at = next
			if r.Kind > framing.WatchRemoved {
				continue // a kind that this version does not know
			}
			if !f(WatchEvent{r.Kind, r.Dir, string(r.Path), string(r.Other)}) {
				return nil
			}
		}
		rest = append(rest[:0], at...)
	}
}

// maxWatchRecord is more than the longest record, in bytes. A longer one that cannot be parsed
// never will be.
const maxWatchRecord = framing.WatchRecordSize + 2*framing.MaxText
