package files

import (
	"math"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// stat handles a stat.
func (s *Service) stat(c *wire.Conn, p *framing.Part) error {
	flags, text, err := framing.ParseStat(p.Data)
	if err != nil {
		return err
	}
	path := string(text)
	how := unix.O_PATH
	if flags&framing.FileNoFollow != 0 {
		how |= unix.O_NOFOLLOW
	}
	fd, err := OpenAt(unix.AT_FDCWD, path, how, flags&framing.FileSafe != 0)
	if err != nil {
		c.Done(p.Seq, 0, sys.NewError("stat", path, err))
		return nil
	}
	var i framing.FileInfo
	const head = framing.HeaderSize + framing.FileInfoSize
	b := c.Space(head + unix.PathMax)
	err = readInfo(&i, fd, []byte{0}, b[head:head+unix.PathMax])
	unix.Close(fd)
	if err != nil {
		c.Done(p.Seq, 0, sys.NewError("stat", path, err))
		return nil
	}
	c.Reply(framing.AppendStatResult(b, p.Seq, &i))
	return nil
}

// readInfo fills i for an entry of dir, without following it. name ends in a NUL; an empty name is
// dir itself. room holds at least PATH_MAX bytes, and receives the target of a symbolic link.
//
// A link takes two calls. If the name is replaced in between, readInfo starts over. A link of /proc
// may be unreadable (EACCES), and then has no target.
func readInfo(i *framing.FileInfo, dir int, name, room []byte) error {
	for range MaxLinks {
		var st unix.Statx_t
		const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH
		if err := sys.StatxAt(dir, name, flags, &st); err != nil {
			return err
		}
		*i = framing.FileInfo{
			Mode: uint32(st.Mode), UID: st.Uid, GID: st.Gid, Links: st.Nlink, Size: st.Size,
			ModTime: nanoseconds(st.Mtime), Inode: st.Ino,
			Device: unix.Mkdev(st.Rdev_major, st.Rdev_minor), Name: name[:len(name)-1],
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return nil
		}
		switch n, err := sys.ReadlinkAt(dir, name, room); err {
		case unix.EINVAL, unix.ENOENT:
		case unix.EACCES:
			return nil
		default:
			i.Target = room[:n]
			return err
		}
	}
	return nil
}

// nanoseconds returns t in ns since 1970, clamped to what an int64 holds.
func nanoseconds(t unix.StatxTimestamp) int64 {
	const far = math.MaxInt64 / 1_000_000_000
	if t.Sec >= far {
		return math.MaxInt64
	}
	if t.Sec <= -far {
		return math.MinInt64
	}
	return t.Sec*1e9 + int64(t.Nsec)
}
