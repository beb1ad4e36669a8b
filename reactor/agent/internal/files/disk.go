package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Disk is where the agent writes files. It is held while it is frozen, and while it is unmounted at
// the end. A write may block for long then, so the agent makes none. It defers what must not be
// lost until the release.
type Disk struct {
	// Spools are the directories for output that exceeds memory. Empty ones are skipped.
	Spools [3]string

	holds    int
	stagings []Staging // to discard at the release
	files    []int     // to close at the release
	waiting  []func()  // to call at the release
}

// ErrFrozen is the error of an operation that would write to a held disk.
var ErrFrozen = &sys.WordedError{Errno: unix.EBUSY, Words: "file system is frozen"}

// Hold holds the disk until as many calls of Release.
func (d *Disk) Hold() { d.holds++ }

// Held reports whether the disk is held.
func (d *Disk) Held() bool { return d.holds > 0 }

// OnRelease registers f to be called once, when the disk is released.
func (d *Disk) OnRelease(f func()) { d.waiting = append(d.waiting, f) }

// Release ends a Hold. The last one does what was deferred.
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

// CloseUnlinked closes a file that may have no name. Closing removes it, so a held disk defers
// that.
func (d *Disk) CloseUnlinked(fd int) {
	if d.Held() {
		d.files = append(d.files, fd)
		return
	}
	unix.Close(fd)
}

// Waits returns how many files wait for the release.
func (d *Disk) Waits() int { return len(d.stagings) + len(d.files) }

// Waiting returns how many calls wait for the release.
func (d *Disk) Waiting() int { return len(d.waiting) }

// OpenSpool opens a file without a name, which starts with first and second. It uses the first
// directory that takes the file and these bytes.
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
