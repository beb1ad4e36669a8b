package framing

// WatchFlags are the flags of watch.
type WatchFlags uint8

// The flags.
const (
	WatchSafe       WatchFlags = 1 << iota // fail at a symbolic link anywhere in the path
	WatchTree                              // directories below, too
	WatchAttributes                        // changes of mode, owner and times, too
	watchKnown      = 1<<iota - 1
)

// Watch is the payload of watch.
type Watch struct {
	Flags WatchFlags
	// Credit is how many bytes of records may be sent.
	Credit uint32
	Path   []byte
	// Skip has names that are not reported, with a slash between two. Nothing below
	// them is reported either.
	Skip []byte
}

// AppendWatch appends a watch.
func AppendWatch(dst []byte, seq uint32, w *Watch) []byte {
	start := len(dst)
	dst = appendU32(append(begin(dst, TypeWatch, seq), byte(w.Flags)), w.Credit)
	return finish(appendText16(appendText16(dst, w.Path), w.Skip), start)
}

// ParseWatch parses a whole payload, which the texts alias.
func ParseWatch(payload []byte) (Watch, error) {
	f := fields{b: payload}
	flags := f.u8()
	f.known(uint16(flags), watchKnown)
	w := Watch{Flags: WatchFlags(flags), Credit: f.u32(), Path: f.word16(), Skip: f.word16()}
	return w, f.end(TypeWatch)
}

// WatchKind says what a record of a watch reports. A host ignores kinds that it does not know.
type WatchKind uint8

// The kinds.
const (
	// WatchLook says that the watch begins here: look at the files now. It is the first
	// record. It comes again when changes were missed.
	WatchLook       WatchKind = iota
	WatchCreated              // Path exists now; another file may have had the name before
	WatchModified             // the content of Path has changed
	WatchAttributed           // the mode, owner or times of Path have changed
	WatchRenamed              // Path is now Other, and replaced what had that name
	WatchRemoved              // Path and all that was below are gone
)

// WatchRecord is a record in the output of a watch.
type WatchRecord struct {
	Kind WatchKind
	// Dir says that it is about a directory.
	Dir bool
	// Path and Other are relative to the path of the watch; empty is the path itself.
	Path, Other []byte
}

// WatchRecordSize is the size of a record without its texts, in bytes.
const WatchRecordSize = 1 + 1 + 2 + 2

// watchDir is the flag of a record about a directory.
const watchDir = 1

// AppendWatchRecord appends a record to the output of a watch.
func AppendWatchRecord(dst []byte, r *WatchRecord) []byte {
	flags := byte(0)
	if r.Dir {
		flags = watchDir
	}
	return appendText16(appendText16(append(dst, byte(r.Kind), flags), r.Path), r.Other)
}

// CutWatchRecord parses a record at the beginning of the output of a watch, which it aliases; an
// output has whole records. A path that leads out of the watched directory is a *PayloadError,
// like a record that is cut short.
func CutWatchRecord(b []byte) (r WatchRecord, rest []byte, err error) {
	f := fields{b: b}
	r.Kind = WatchKind(f.u8())
	r.Dir = f.u8()&watchDir != 0
	r.Path, r.Other = f.word16(), f.word16()
	if !isBelow(r.Path) || !isBelow(r.Other) {
		f.fail(reasonEntry)
	}
	rest, f.b = f.b, nil
	return r, rest, f.end(TypeWatch)
}

// isBelow reports whether a path is empty or has only names: no empty one, no . and no ..
func isBelow(path []byte) bool {
	if len(path) == 0 {
		return true
	}
	begin := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if name := string(path[begin:i]); name == "" || name == "." || name == ".." {
			return false
		}
		begin = i + 1
	}
	return true
}
