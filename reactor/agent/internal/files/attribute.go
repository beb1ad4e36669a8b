package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// attributeList sends the extended attributes of a file. It reads the names at the start, and each
// value in its turn to be sent.
type attributeList struct {
	names string // not sent yet, each with a NUL at its end
}

// maxAttribute limits the value of an extended attribute, in bytes. The kernel allows twice that,
// 64 KiB (XATTR_SIZE_MAX). A longer value ends the list with ERANGE.
const maxAttribute = wire.MaxOutput - 1 - unix.NAME_MAX - 2

// listAttributes starts a list of the extended attributes of a file. It does not follow a symbolic
// link. A file system without attributes gives an empty list.
func listAttributes(c *wire.Conn, seq uint32, q *framing.List) error {
	f := &fileSend{
		conn: c, seq: seq, op: "getxattr", path: string(q.Path), granted: uint64(q.Credit),
	}
	fd, err := openNode("open", f.path, q.Flags&framing.FileSafe != 0, false)
	if err != nil {
		c.Done(seq, 0, err)
		return nil
	}
	f.fd = fd
	size, err := unix.Listxattr(sys.FDPath(fd), nil)
	names := make([]byte, max(size, 0)+1) // with no room the kernel returns only the size
	if err == nil {
		size, err = unix.Listxattr(sys.FDPath(fd), names)
	}
	switch err {
	case nil:
	case unix.ENOTSUP, unix.ELOOP, unix.EPERM, unix.EACCES:
		size = 0
	default:
		unix.Close(fd)
		c.Done(seq, 0, sys.NewError("listxattr", f.path, err))
		return nil
	}
	f.from = &attributeList{string(names[:size])}
	f.open()
	return nil
}

// produce implements [fileSource]. It sends one attribute a frame.
func (l *attributeList) produce(f *fileSend) (more bool) {
	if l.names == "" {
		f.finish(nil)
		return false
	}
	b := f.conn.Space(framing.OutputHeaderSize + wire.MaxOutput)
	content := b[framing.OutputHeaderSize:framing.OutputHeaderSize]
	name, rest, _ := sys.Cut(l.names, 0)
	head := 1 + len(name) + 2
	value := content[head : head+maxAttribute]
	n, err := unix.Getxattr(sys.FDPath(f.fd), name, value)
	switch err {
	case nil:
	case unix.ENODATA: // removed since
		l.names = rest
		return true
	case unix.ERANGE: // longer than maxAttribute
		f.finish(sys.NewError(f.op, f.path, unix.E2BIG))
		return false
	default:
		f.finish(sys.NewError(f.op, f.path, err))
		return false
	}
	if uint64(head+n) > f.granted {
		return false // until there is credit for the whole attribute
	}
	content = framing.AppendAttribute(content, []byte(name), value[:n])
	l.names = rest
	f.send(b, len(content))
	f.sent++
	return true
}

// setAttribute sets an extended attribute of a file.
func setAttribute(path string, other []byte, safe bool) error {
	name, value, rest, err := framing.CutAttribute(other)
	if err != nil || len(rest) > 0 {
		return sys.NewError("setxattr", path, unix.EINVAL)
	}
	fd, err := openNode("setxattr", path, safe, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.Wrap("setxattr", path, unix.Setxattr(sys.FDPath(fd), string(name), value, 0))
}

// makeNode creates a device, a FIFO, a socket or an empty file.
func makeNode(path string, q *framing.Change, safe bool) error {
	e, err := OpenEntry("mknod", path, safe, false)
	if err != nil {
		return err
	}
	defer e.Close()
	defer unix.Umask(unix.Umask(0))
	dev := int(unix.Mkdev(q.UID, q.GID))
	return sys.Wrap("mknod", path, unix.Mknodat(e.Dir, e.Base, q.Mode, dev))
}

// markAttributes marks an entry that has extended attributes. It looks only at files and
// directories.
func markAttributes(i *framing.FileInfo, dir int, name []byte) {
	if kind := i.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return
	}
	if n, err := sys.ListxattrSize(sys.FDPath(dir) + "/" + string(name)); err == nil && n > 0 {
		i.Mode |= framing.ModeMarked
	}
}
