package files

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// mapBatch is the most extents looked up in one turn.
const mapBatch = 64

// fileMap sends which parts of a file hold data, without the data; lseek(2), SEEK_DATA.
type fileMap struct {
	offset uint64 // where the next extent is looked up
	end    uint64 // of the requested range
}

// produce implements [fileSource].
func (m *fileMap) produce(f *fileSend) (more bool) {
	b := f.conn.Space(framing.OutputHeaderSize + mapBatch*framing.ExtentSize)
	content := b[framing.OutputHeaderSize:framing.OutputHeaderSize]
	for range mapBatch {
		e, err := m.nextExtent(f.fd)
		if err != nil || e.Length == 0 {
			if len(content) == 0 {
				f.finish(sys.Wrap("lseek", f.path, err))
				return false
			}
			break // the next turn meets it again
		}
		if uint64(len(content)+framing.ExtentSize) > f.granted {
			f.send(b, len(content))
			return false // until there is credit for it
		}
		content = framing.AppendExtent(content, e)
		m.offset = e.Offset + e.Length
		f.sent++
	}
	f.send(b, len(content))
	return true
}

// nextExtent returns the next extent. A length of 0 means that no data is left.
func (m *fileMap) nextExtent(fd int) (e framing.Extent, err error) {
	if m.offset >= m.end {
		return e, nil
	}
	begin, err := unix.Seek(fd, int64(m.offset), unix.SEEK_DATA)
	switch err {
	case nil:
	case unix.ENXIO: // only a hole is left
		return e, nil
	case unix.EINVAL: // a block device: all of it is data
		size, err := unix.Seek(fd, 0, unix.SEEK_END)
		if err != nil || m.offset >= uint64(size) {
			return e, err
		}
		return framing.Extent{Offset: m.offset, Length: min(uint64(size), m.end) - m.offset}, nil
	default:
		return e, err
	}
	end, err := unix.Seek(fd, begin, unix.SEEK_HOLE)
	if err == unix.ENXIO {
		return e, nil // the file was truncated
	}
	if from := uint64(begin); err == nil && from < m.end {
		e = framing.Extent{Offset: from, Length: min(uint64(end), m.end) - from}
	}
	return e, err
}
