package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Disk is where the agent writes files of its own accord. While the disk is frozen, what would wait for
// the thaw is put off until then.
type Disk struct {
	// Spools are directories for files that are too long to hold in memory. Some may be empty.
	Spools [3]string
	// Frozen reports whether a write may wait for a thaw, or for ever, as on a disk that is settled.
	Frozen func() bool

	stagings []Staging // to be removed after the thaw
	files    []int     // to be closed after the thaw
}

// CloseUnlinked closes a file that may have no name, which removes it then.
func (d *Disk) CloseUnlinked(fd int) {
	if d.Frozen() {
		d.files = append(d.files, fd)
		return
	}
	unix.Close(fd)
}

// Thaw does what was put off until the thaw. Frozen reports false by now.
func (d *Disk) Thaw() {
	stagings, files := d.stagings, d.files
	d.stagings, d.files = nil, nil
	for i := range stagings {
		stagings[i].Discard(d)
	}
	for _, fd := range files {
		unix.Close(fd)
	}
}

// Waits returns how many files wait for a thaw to be removed or closed.
func (d *Disk) Waits() int { return len(d.stagings) + len(d.files) }

// OpenSpool opens a file without a name, in the first directory that takes one and its first bytes.
func (d *Disk) OpenSpool(first, second []byte) (fd int, err error) {
	err = unix.ENOENT
	for _, dir := range d.Spools {
		if dir == "" {
			continue
		}
		if fd, err = unnamed(dir); err == nil {
			if err = WriteStart(fd, first, second); err == nil {
				return fd, nil
			}
		}
	}
	return -1, sys.NewError("open", "spool file", err)
}
