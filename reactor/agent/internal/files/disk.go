package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Disk is where the agent writes files of its own accord. While it is held, because it is frozen or is being
// brought to its end, a write may wait for a long time. The agent makes none then: what must not be lost is
// put off until the disk is released.
type Disk struct {
	// Spools are directories for files that are too long to hold in memory. Some may be empty.
	Spools [3]string

	holds    int
	stagings []Staging // to be removed when it is released
	files    []int     // to be closed then
	waiting  []func()  // to be called then
}

// ErrFrozen is the error of an operation that would write while the disk is held.
var ErrFrozen = &sys.WordedError{Errno: unix.EBUSY, Words: "file system is frozen"}

// Hold puts off what would wait for the disk, until as many calls of Release.
func (d *Disk) Hold() { d.holds++ }

// Held reports whether the disk is held.
func (d *Disk) Held() bool { return d.holds > 0 }

// OnRelease has f called when the disk is released.
func (d *Disk) OnRelease(f func()) { d.waiting = append(d.waiting, f) }

// Release ends a Hold. With the last it does what was put off.
func (d *Disk) Release() {
	if d.holds--; d.holds > 0 {
		return
	}
	waiting, stagings, files := d.waiting, d.stagings, d.files
	d.waiting, d.stagings, d.files = nil, nil, nil
	for _, f := range waiting {
		f()
	}
	for i := range stagings {
		stagings[i].Discard(d)
	}
	for _, fd := range files {
		unix.Close(fd)
	}
}

// CloseUnlinked closes a file that may have no name, which removes it then.
func (d *Disk) CloseUnlinked(fd int) {
	if d.Held() {
		d.files = append(d.files, fd)
		return
	}
	unix.Close(fd)
}

// Waits returns how many files wait for a release to be removed or closed.
func (d *Disk) Waits() int { return len(d.stagings) + len(d.files) }

// OpenSpool opens a file without a name, in the first directory that takes one and its first bytes.
func (d *Disk) OpenSpool(first, second []byte) (fd int, err error) {
	err = unix.ENOENT
	for _, dir := range d.Spools {
		if dir == "" {
			continue
		}
		if fd, err = openUnnamed(dir); err == nil {
			if err = WriteStart(fd, first, second); err == nil {
				return fd, nil
			}
		}
	}
	return -1, sys.NewError("open", "spool file", err)
}
