package sys

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// PinCode locks the pages of the program's own file in memory as they come into use. A command that
// uses up the memory first evicts the page cache, which holds the code of every program. Without
// PinCode the agent would read its own code from disk again and again, until the OOM killer fires.
// Pages without a file stay in memory anyway, if there is no swap. Locking takes no memory beyond
// the pages in use.
//
// leaveOut is called for each writable mapping, if the program has no C library. Keeping a mapping
// out of children makes forks faster, and no command starts with a copy of it. buf is for reading.
func PinCode(buf []byte, leaveOut func(from, size uintptr)) error {
	n, err := ReadFile("/proc/self/maps", buf)
	if err != nil {
		return err
	}
	// The program's own mappings come first:
	// "00400000-004b6000 r-xp 00000000 fe:00 1234   /sbin/vm-init".
	program, pinning := "", true
	var own [][2]uintptr
	for text := buf[:n]; ; {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			// With a C library, the kernel writes to memory of every thread, also in children;
			// rseq(2).
			for _, m := range own {
				leaveOut(m[0], m[1])
			}
			return nil
		}
		line := string(text[:end])
		text = text[end+1:]
		from, to, ok := parseRange(line)
		if !ok {
			return nil
		}
		_, rest, _ := Cut(line, ' ')
		rights, _, _ := Cut(rest, ' ')
		_, name, found := Cut(line, '/')
		if found && program != "" && name != program {
			return nil // the program has libraries, see above
		}
		if rights == "rw-p" || rights == "---p" {
			own = append(own, [2]uintptr{from, to - from})
		}
		if pinning = pinning && found; !pinning {
			continue
		}
		program = name
		if rights == "r-xp" || rights == "r--p" {
			// A quarter of the code is used only at the start.
			dropPages(from, to-from)
		}
		if err := lockOnFault(from, to-from); err != nil {
			return err
		}
	}
}

// parseRange parses a range of addresses, "00400000-004b6000 ".
func parseRange(line string) (from, to uintptr, ok bool) {
	v := &from
	for i := range len(line) {
		switch c := line[i]; {
		case c == '-':
			v = &to
		case c == ' ':
			return from, to, to > from
		case c >= '0' && c <= '9':
			*v = *v<<4 | uintptr(c-'0')
		case c >= 'a' && c <= 'f':
			*v = *v<<4 | uintptr(c-'a'+10)
		default:
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// dropPages drops pages that were never written to; madvise(2). They are read again when used.
func dropPages(from, size uintptr) {
	unix.RawSyscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED)
}

const mlockOnFault = 1 // MLOCK_ONFAULT

// lockOnFault calls mlock2(2).
func lockOnFault(from, size uintptr) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_MLOCK2, from, size, mlockOnFault); errno != 0 {
		return NewError("mlock2", "", errno)
	}
	return nil
}
