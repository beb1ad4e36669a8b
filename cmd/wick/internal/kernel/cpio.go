package kernel

import (
	"bytes"
	"fmt"
	"io"
)

// cpio writes an archive in the format "newc", that of an initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w   io.Writer
	ino int
	err error
}

// The file types of st_mode.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

// add writes an entry that belongs to root and has the time of the epoch. The device numbers are
// those of a character device.
func (c *cpio) add(name string, mode, major, minor int, content []byte) {
	c.ino++
	c.entry(name, c.ino, mode, major, minor, content)
}

func (c *cpio) dir(name string)                      { c.add(name, modeDir|0o755, 0, 0, nil) }
func (c *cpio) file(name string, mode int, b []byte) { c.add(name, modeFile|mode, 0, 0, b) }
func (c *cpio) char(name string, mode, major, minor int) {
	c.add(name, modeChar|mode, major, minor, nil)
}

// close writes the end mark and returns the first error.
func (c *cpio) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, 0, nil)
	return c.err
}

func (c *cpio) entry(name string, ino, mode, major, minor int, content []byte) {
	if c.err != nil {
		return
	}
	var b bytes.Buffer
	b.WriteString("070701")
	for _, field := range []int{ino, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor,
		len(name) + 1, 0} {
		fmt.Fprintf(&b, "%08X", field)
	}
	b.WriteString(name)
	b.WriteByte(0)
	pad(&b)
	b.Write(content)
	pad(&b)
	_, c.err = c.w.Write(b.Bytes())
}

// pad fills b up to a multiple of four, where the next entry begins.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
