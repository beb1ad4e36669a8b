package configure

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxSecrets is the most entries, and the most files.
	maxSecrets = 64
	// maxEntry and maxEntries limit an entry and all entries, in bytes. The kernel takes no
	// longer entry, and a command also has other entries and arguments.
	maxEntry   = 128<<10 - 1
	maxEntries = 128 << 10
)

// entries holds the secrets that are entries of the environment.
type entries struct {
	texts []string // NAME=VALUE, each an alias of its memory
	areas [][]byte // the memory of each
	bytes int      // of all texts
}

// set adds an entry, or replaces that of the same name.
func (e *entries) set(secret *framing.Secret) error {
	name, value := secret.Name, secret.Value
	size := len(name) + 1 + len(value)
	old := e.find(string(name))
	count, total := len(e.texts), e.bytes+size
	if old >= 0 {
		count, total = count-1, total-len(e.texts[old])
	}
	switch {
	case len(name) == 0 || bytes.IndexByte(name, '=') >= 0:
		return errors.New("not the name of an entry")
	case bytes.IndexByte(value, 0) >= 0:
		return errors.New("an entry of the environment has no NUL")
	case size > maxEntry || total > maxEntries:
		return errors.New("entries are longer than " + sys.Num(maxEntries>>10) + " KiB")
	case count >= maxSecrets:
		return errTooMany
	}
	area, err := private(size)
	if err != nil {
		return err
	}
	n := copy(area, name)
	area[n] = '='
	copy(area[n+1:], value)
	if old >= 0 {
		e.drop(old)
	}
	e.texts = append(e.texts, sys.Alias(area[:size]))
	e.areas = append(e.areas, area)
	e.bytes += size
	return nil
}

var errTooMany = errors.New("too many secrets (limit " + sys.Num(maxSecrets) + ")")

// private maps memory that is not in a core dump, and that no child has. It is not swapped if the
// process may lock it.
func private(size int) ([]byte, error) {
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, sys.NewError("mmap", "secret", err)
	}
	unix.Madvise(b, unix.MADV_DONTDUMP)
	unix.Madvise(b, unix.MADV_DONTFORK)
	unix.Mlock(b)
	return b, nil
}

// find returns the index of the entry of that name, or -1.
func (e *entries) find(name string) int {
	for i, text := range e.texts {
		if before, _, _ := sys.Cut(text, '='); before == name {
			return i
		}
	}
	return -1
}

// remove forgets the entry of that name.
func (e *entries) remove(name string) {
	if i := e.find(name); i >= 0 {
		e.drop(i)
	}
}

// drop forgets an entry and clears its memory.
func (e *entries) drop(i int) {
	area := e.areas[i]
	e.bytes -= len(e.texts[i])
	e.texts = append(e.texts[:i], e.texts[i+1:]...)
	e.areas = append(e.areas[:i], e.areas[i+1:]...)
	clear(area)
	unix.Munmap(area)
}
