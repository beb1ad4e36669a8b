package sys

import (
	"golang.org/x/sys/unix"
)

// OpenDir opens a directory for reading.
func OpenDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, Wrap("open", path, err)
}

// EachEntry calls f with the name of each entry of an open directory. buf is for reading.
func EachEntry(dir int, buf []byte, f func(name string)) {
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil || n <= 0 {
			return
		}
		for entries := buf[:n]; len(entries) > 0; entries = entries[EntrySize(entries):] {
			name := EntryName(entries)
			f(string(name[:len(name)-1]))
		}
	}
}

// EntrySize returns the length of the first entry of a buffer that getdents(2) filled. A struct
// linux_dirent64 has two 64-bit numbers, a 16-bit length, an 8-bit type, and the name.
func EntrySize(entries []byte) int { return int(entries[16]) | int(entries[17])<<8 }

// EntryName returns the name of the first entry, with the NUL at its end.
func EntryName(entries []byte) []byte {
	end := 19
	for entries[end] != 0 {
		end++
	}
	return entries[19 : end+1]
}
