package watch

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// pathRoom is enough for the path of a name in a directory that can be opened, in bytes.
const pathRoom = framing.MaxPath + unix.NAME_MAX

// stepPaths is the most paths in the records of a step.
const stepPaths = 7

// fits reports whether there is credit and room for the records of a step.
func (w *watch) fits() bool {
	path := min(w.longest+1+unix.NAME_MAX, pathRoom)
	need := len(w.out) + stepPaths*(framing.WatchRecordSize+path)
	return uint64(need) <= min(w.granted, wire.MaxOutput)
}

// report adds a record about a name in a directory.
func (w *watch) report(kind framing.WatchKind, dir bool, n *node, name []byte) {
	if !w.looking {
		w.record(kind, dir, w.path(&w.paths[0], n, name), nil)
	}
}

// reportRename adds a record of a rename.
func (w *watch) reportRename(dir bool, from *node, name []byte, to *node, toName []byte) {
	if !w.looking {
		a, b := w.path(&w.paths[0], from, name), w.path(&w.paths[1], to, toName)
		w.record(framing.WatchRenamed, dir, a, b)
	}
}

// path returns the path that a record has.
func (w *watch) path(buf *[pathRoom]byte, n *node, name []byte) []byte {
	if w.only != "" {
		return nil
	}
	path := n.appendPath(buf[:0], name)
	if path == nil {
		w.fail(sys.NewError("watch", w.root, unix.ENAMETOOLONG))
	}
	return path
}

// record adds a record, unless the frame says it already.
func (w *watch) record(kind framing.WatchKind, dir bool, path, other []byte) {
	if w.err != nil {
		return
	}
	last := w.last(path)
	if last.Kind == kind || last.Kind == framing.WatchCreated {
		switch kind {
		case framing.WatchCreated, framing.WatchModified, framing.WatchAttributed:
			if last.Dir == dir {
				return
			}
		}
	}
	r := framing.WatchRecord{Kind: kind, Dir: dir, Path: path, Other: other}
	w.out = framing.AppendWatchRecord(w.out, &r)
	if kind == framing.WatchRemoved || kind == framing.WatchRenamed || last.Dir != dir {
		w.since = len(w.out) // a path below may lead to another file than before
	}
}

// last returns the last record of the frame about a path, and a WatchLook without
// one.
func (w *watch) last(path []byte) (last framing.WatchRecord) {
	for b := w.out[w.since:]; len(b) > 0; {
		r, rest, err := framing.CutWatchRecord(b)
		if err != nil {
			break
		}
		if b = rest; string(r.Path) == string(path) {
			last = r
		}
	}
	return last
}
