package sys

import "golang.org/x/sys/unix"

// KernelFile is the size of a buffer for a kernel file, in bytes. It holds most of them, and as
// much as one read returns of a longer one. The handler of a request cannot use the loop's scratch
// buffer, because further requests may be in it.
const KernelFile = 4 << 10

// WriteFile writes text to a kernel file in one call. It opens the file with O_NONBLOCK, so that
// Linux 6.16 and later do not wait until a cgroup has come down to a new limit.
func WriteFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(text))
		unix.Close(fd)
	}
	return Wrap("write", path, err)
}

// ReadFile reads a kernel file into buf, with one read.
func ReadFile(path string, buf []byte) (int, error) { return ReadFileAt(unix.AT_FDCWD, path, buf) }

// ReadFileAt is ReadFile for a path relative to the open directory dir.
func ReadFileAt(dir int, path string, buf []byte) (int, error) {
	fd, err := Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, NewError("open", path, err)
	}
	n, err := Read(fd, buf)
	Close(fd)
	return n, Wrap("read", path, err)
}

// ReadText returns a kernel file without newlines at its end. The text is empty if it cannot be
// read. buf is for reading.
func ReadText(path string, buf []byte) string {
	n, _ := ReadFile(path, buf)
	for n > 0 && buf[n-1] == '\n' {
		n--
	}
	return string(buf[:n])
}

// ReadFigures reads lines such as "oom_kill 3" and "MemTotal:   130864 kB" from a file, and calls
// found with the name and the first number of each. It ignores other lines. path is relative to the
// open directory dir, and buf is for reading.
func ReadFigures(dir int, path string, buf []byte, found func(name string, value uint64)) error {
	n, err := ReadFileAt(dir, path, buf)
	if err != nil {
		return err
	}
	for text := string(buf[:n]); text != ""; {
		var line string
		line, text, _ = Cut(text, '\n')
		i := 0
		for i < len(line) && line[i] != ' ' && line[i] != ':' && line[i] != '\t' {
			i++
		}
		if i == len(line) {
			continue
		}
		if value, _, ok := TakeNumber(line[i+1:]); ok {
			found(line[:i], value)
		}
	}
	return nil
}

// ReadFigure returns a figure of a file, as Figure does. path is relative to the open directory
// dir. buf is for reading.
func ReadFigure(dir int, path, name string, buf []byte) uint64 {
	n, _ := ReadFileAt(dir, path, buf)
	return Figure(Alias(buf[:max(n, 0)]), name)
}

// Figure returns the number after a name at the beginning of a line, or 0: 3 for "oom_kill" in
// "oom_kill 3", and 130864 for "MemTotal" in "MemTotal:   130864 kB".
func Figure(text, name string) (value uint64) {
	for line := ""; text != ""; {
		line, text, _ = Cut(text, '\n')
		n := len(name)
		if len(line) > n && line[:n] == name && (line[n] == ' ' || line[n] == ':') {
			value, _, _ = TakeNumber(line[n+1:])
			return value
		}
	}
	return 0
}

// ReadNumber returns the number that a file begins with, or 0. path is relative to the open
// directory dir.
func ReadNumber(dir int, path string) uint64 {
	var buf [32]byte
	n, _ := ReadFileAt(dir, path, buf[:])
	number, _, _ := TakeNumber(string(buf[:max(n, 0)]))
	return number
}

// TakeNumber parses a decimal number at the beginning of a text, after blanks, and returns it with
// the rest of the text.
func TakeNumber(text string) (n uint64, rest string, ok bool) {
	i := 0
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	begin := i
	for i < len(text) && text[i]-'0' <= 9 {
		digit := uint64(text[i] - '0')
		if n > (1<<64-1-digit)/10 {
			return 0, text, false
		}
		n = n*10 + digit
		i++
	}
	return n, text[i:], i > begin
}

// FDPath returns a path to an open file that does not depend on its name; proc_pid_fd(5). It is for
// calls that refuse a descriptor opened with O_PATH.
func FDPath(fd int) string { return "/proc/self/fd/" + Num(fd) }

// TakeHundredths parses a number with two decimals, such as "0.25", as TakeNumber does. It returns
// hundredths.
func TakeHundredths(text string) (n uint64, rest string, ok bool) {
	whole, rest, ok := TakeNumber(text)
	if !ok || len(rest) < 3 || rest[0] != '.' {
		return 0, text, false
	}
	part, _, ok := TakeNumber(rest[1:3])
	return whole*100 + part, rest[3:], ok
}
