package framing

import "bytes"

// FileFlags are the flags of read, stat, list and change.
type FileFlags uint8

// The flags, and the messages that have them.
const (
	FileSafe       FileFlags = 1 << iota // all: fail at a symbolic link anywhere
	FileNoFollow                         // stat, change: a link at the path's end itself
	FileParents                          // change: mkdir makes missing directories too
	FileNoReplace                        // change: rename replaces nothing
	FileMap                              // read: the parts of the file that hold data
	FileAttributes                       // list: the extended attributes of a file
	FileMarks                            // list: entries with extended attributes are marked
)

// Read is the payload of read. Paths in messages about files are bytes without a NUL, at most
// MaxText.
type Read struct {
	Flags FileFlags
	// Offset and Length are in bytes. A length of 0 means to the end.
	Offset, Length uint64
	// Credit is how many bytes may be sent.
	Credit uint32
	Path   []byte
}

// AppendRead appends a read.
func AppendRead(dst []byte, seq uint32, r *Read) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeRead, seq), byte(r.Flags))
	dst = appendU32(appendU64(appendU64(dst, r.Offset), r.Length), r.Credit)
	return finish(appendText16(dst, r.Path), start)
}

// ParseRead parses a whole payload, which the path aliases.
func ParseRead(payload []byte) (Read, error) {
	f := fields{b: payload}
	r := Read{Flags: f.fileFlags(FileSafe | FileMap), Offset: f.u64(), Length: f.u64(), Credit: f.u32(), Path: f.word16()}
	return r, f.end(TypeRead)
}

func (f *fields) fileFlags(known FileFlags) FileFlags {
	flags := f.u8()
	f.known(uint16(flags), uint16(known))
	return FileFlags(flags)
}

// WriteFlags are the flags of write.
type WriteFlags uint16

// The flags.
const (
	WriteSafe      WriteFlags = 1 << iota // fail at a symbolic link anywhere
	WriteInPlace                          // change the file, do not replace it
	WriteExclusive                        // fail if the file exists
	WriteSync                             // fsync(2) before done
	WriteMode                             // Mode is given
	WriteOwner                            // UID and GID are given
	WriteParents                          // make missing directories
	WriteAppend                           // in place: content goes to the end
	WriteTruncate                         // in place: the file ends where the content ends
	writeKnown     = 1<<iota - 1
)

// Write is the payload of write.
type Write struct {
	Flags WriteFlags
	// Mode has the permission bits with WriteMode, and UID and GID the owner with WriteOwner.
	Mode     uint32
	UID, GID uint32
	// Offset is where in the file the content goes, in bytes; only with WriteInPlace.
	Offset uint64
	Path   []byte
}

// AppendWrite appends a write.
func AppendWrite(dst []byte, seq uint32, w *Write) []byte {
	start := len(dst)
	dst = appendU16(begin(dst, TypeWrite, seq), uint16(w.Flags))
	dst = appendU64(appendU32(appendU32(appendU32(dst, w.Mode), w.UID), w.GID), w.Offset)
	return finish(appendText16(dst, w.Path), start)
}

// ParseWrite parses a whole payload, which the path aliases.
func ParseWrite(payload []byte) (Write, error) {
	f := fields{b: payload}
	flags := f.u16()
	f.known(flags, writeKnown)
	w := Write{Flags: WriteFlags(flags), Mode: f.u32(), UID: f.u32(), GID: f.u32(), Offset: f.u64(), Path: f.word16()}
	return w, f.end(TypeWrite)
}

// AppendStat appends a stat.
func AppendStat(dst []byte, seq uint32, flags FileFlags, path []byte) []byte {
	start := len(dst)
	return finish(appendText16(append(begin(dst, TypeStat, seq), byte(flags)), path), start)
}

// ParseStat parses a whole payload, which the path aliases.
func ParseStat(payload []byte) (flags FileFlags, path []byte, err error) {
	f := fields{b: payload}
	flags, path = f.fileFlags(FileSafe|FileNoFollow), f.word16()
	return flags, path, f.end(TypeStat)
}

// List is the payload of list.
type List struct {
	Flags FileFlags
	// Credit is how many bytes may be sent.
	Credit uint32
	Path   []byte
}

// AppendList appends a list.
func AppendList(dst []byte, seq uint32, l *List) []byte {
	start := len(dst)
	dst = appendU32(append(begin(dst, TypeList, seq), byte(l.Flags)), l.Credit)
	return finish(appendText16(dst, l.Path), start)
}

// ParseList parses a whole payload, which the path aliases.
func ParseList(payload []byte) (List, error) {
	f := fields{b: payload}
	l := List{Flags: f.fileFlags(FileSafe | FileAttributes | FileMarks), Credit: f.u32(), Path: f.word16()}
	return l, f.end(TypeList)
}

// FileInfo is the payload of stat_result, and an entry of a list.
type FileInfo struct {
	// Mode is st_mode with the type; see inode(7). With FileMarks it may have ModeMarked.
	Mode     uint32
	UID, GID uint32
	Links    uint32
	// Size is in bytes.
	Size uint64
	// ModTime is in nanoseconds since 1970.
	ModTime int64
	Inode   uint64
	// Device is st_rdev: the numbers of a device.
	Device uint64
	// Name is empty in a stat_result. Target is the target of a symbolic link, else empty.
	Name, Target []byte
}

// ModeMarked is the bit of FileInfo.Mode that marks extended attributes.
const ModeMarked = 1 << 31

// FileInfoSize is the size of a FileInfo without its texts, in bytes.
const FileInfoSize = 4*4 + 4*8 + 2*2

// AppendFileInfo appends an entry to the output of a list.
func AppendFileInfo(dst []byte, i *FileInfo) []byte {
	dst = appendU32(appendU32(appendU32(appendU32(dst, i.Mode), i.UID), i.GID), i.Links)
	dst = appendU64(appendU64(appendU64(appendU64(dst, i.Size), uint64(i.ModTime)), i.Inode), i.Device)
	return appendText16(appendText16(dst, i.Name), i.Target)
}

// AppendStatResult appends a stat_result.
func AppendStatResult(dst []byte, seq uint32, i *FileInfo) []byte {
	start := len(dst)
	return finish(AppendFileInfo(begin(dst, TypeStatResult, seq), i), start)
}

func (f *fields) fileInfo() FileInfo {
	return FileInfo{
		Mode: f.u32(), UID: f.u32(), GID: f.u32(), Links: f.u32(),
		Size: f.u64(), ModTime: int64(f.u64()), Inode: f.u64(), Device: f.u64(), Name: f.word16(), Target: f.word16(),
	}
}

// ParseStatResult parses a whole payload, which the texts alias.
func ParseStatResult(payload []byte) (FileInfo, error) {
	f := fields{b: payload}
	i := f.fileInfo()
	return i, f.end(TypeStatResult)
}

// CutFileInfo parses an entry at the beginning of the output of a list, which it aliases; an output
// has whole entries. The name is safe as one component of a path. An entry whose name is empty, .
// or .., or has a /, is a *PayloadError, like one that is cut short.
func CutFileInfo(b []byte) (i FileInfo, rest []byte, err error) {
	f := fields{b: b}
	i = f.fileInfo()
	if string(i.Name) == "" || string(i.Name) == "." || string(i.Name) == ".." || bytes.IndexByte(i.Name, '/') >= 0 {
		f.fail(reasonEntry)
	}
	rest, f.b = f.b, nil
	return i, rest, f.end(TypeList)
}

// ChangeOp is the operation of a change.
type ChangeOp uint8

// The operations.
const (
	_             ChangeOp = iota
	ChangeMkdir            // makes Path, with Mode
	ChangeRemove           // removes Path: a file, a link, or an empty directory
	ChangeRename           // renames Path to Other
	ChangeSymlink          // makes Path, a symbolic link to Other
	ChangeLink             // makes Path, a hard link to the file Other
	ChangeMode             // sets Path's mode to Mode
	ChangeOwner            // sets Path's owner to UID and GID; 2^32-1 leaves one unchanged
	ChangeTime             // sets Path's time to ModTime
	// ChangeNode makes Path with the type and permissions of Mode. UID and GID are a device's major
	// and minor.
	ChangeNode
	ChangeAttribute // sets an attribute of Path; Other is made by AppendAttribute
)

// Change is the payload of change. Fields that Op does not name are ignored.
type Change struct {
	Op       ChangeOp
	Flags    FileFlags
	Mode     uint32
	UID, GID uint32
	// ModTime is in nanoseconds since 1970.
	ModTime     int64
	Path, Other []byte
}

// AppendChange appends a change.
func AppendChange(dst []byte, seq uint32, c *Change) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeChange, seq), byte(c.Op), byte(c.Flags))
	dst = appendU64(appendU32(appendU32(appendU32(dst, c.Mode), c.UID), c.GID), uint64(c.ModTime))
	return finish(appendText16(appendText16(dst, c.Path), c.Other), start)
}

// ParseChange parses a whole payload, which the paths alias. The agent checks the operation.
func ParseChange(payload []byte) (Change, error) {
	f := fields{b: payload}
	c := Change{Op: ChangeOp(f.u8()), Flags: f.fileFlags(FileSafe | FileNoFollow | FileParents | FileNoReplace)}
	c.Mode, c.UID, c.GID, c.ModTime = f.u32(), f.u32(), f.u32(), int64(f.u64())
	c.Path = f.word16()
	if c.Op == ChangeAttribute {
		c.Other = f.text16() // the value may have a NUL
	} else {
		c.Other = f.word16()
	}
	return c, f.end(TypeChange)
}
