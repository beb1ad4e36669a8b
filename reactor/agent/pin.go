package agent

import (
	"bytes"

	"golang.org/x/sys/unix"

	"wick/reactor"
)

// pinCode keeps the pages of the program's own file that are in use from being evicted. A command that eats all memory first drives out
// the page cache, and with it the code of everything that runs: without this the agent would read itself from
// the disk again for each instruction, until the kernel at last kills somebody. What is not backed by a file stays anyway, where
// there is no swap. Pages are locked as they come into use, so this costs no memory that the program does not have already.
//
// What can be written to is left out of children: no command is started with a copy of the agent's memory, and to fork takes less time.
// buf is for reading.
func pinCode(buf []byte) error {
	n, err := readFile("/proc/self/maps", buf)
	if err != nil {
		return err
	}
	// The program's own mappings come first: "00400000-004b6000 r-xp 00000000 fe:00 1234   /sbin/vm-init".
	program, pinning := "", true
	var own [][2]uintptr
	for text := buf[:n]; ; {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			// Not with the C library, which has the kernel write to its memory in every thread, a child's too: rseq(2).
			for _, m := range own {
				reactor.LeaveOut(m[0], m[1])
			}
			return nil
		}
		line := string(text[:end])
		text = text[end+1:]
		from, to, ok := parseRange(line)
		if !ok {
			return nil
		}
		_, rest, _ := cut(line, ' ')
		rights, _, _ := cut(rest, ' ')
		_, name, found := cut(line, '/')
		if found && program != "" && name != program {
			return nil // a program with libraries: see below
		}
		if rights == "rw-p" || rights == "---p" {
			own = append(own, [2]uintptr{from, to - from})
		}
		if pinning = pinning && found; !pinning {
			continue
		}
		program = name
		if rights == "r-xp" || rights == "r--p" {
			// What was needed to start and is not any more need not stay: a quarter of what the process has.
			dropPages(from, to-from)
		}
		if err := lockOnFault(from, to-from); err != nil {
			return err
		}
	}
}

// parseRange reads "00400000-004b6000 ".
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

// dropPages is madvise(2): the pages are read again when they are used again. Only for what nothing has written to.
func dropPages(from, size uintptr) {
	unix.RawSyscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED)
}

const mlockOnFault = 1 // MLOCK_ONFAULT

// lockOnFault is mlock2(2).
func lockOnFault(from, size uintptr) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_MLOCK2, from, size, mlockOnFault); errno != 0 {
		return opError("mlock2", "", errno)
	}
	return nil
}
