package agent

import "golang.org/x/sys/unix"

// kernelFile is enough for the files that are read, in bytes, and what the kernel gives at once of those that are longer. The loop's
// scratch will not do where a request is handled: more of them may lie in it.
const kernelFile = 4 << 10

// writeFile writes a small file of the kernel's, and readFile reads one, as far as one read gives it.
// O_NONBLOCK makes Linux 6.16 return before a cgroup has come down to a limit that is written.
func writeFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(text))
		unix.Close(fd)
	}
	return wrapOp("write", path, err)
}

func readFile(path string, buf []byte) (int, error) { return readFileAt(unix.AT_FDCWD, path, buf) }

func readFileAt(dir int, path string, buf []byte) (int, error) {
	fd, err := openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, opError("open", path, err)
	}
	n, err := read(fd, buf)
	shut(fd)
	return n, wrapOp("read", path, err)
}

// readText is readFile for what is looked at as text; empty if it cannot be read. It has no newline at its end.
func readText(path string, buf []byte) string {
	n, _ := readFile(path, buf)
	for n > 0 && buf[n-1] == '\n' {
		n--
	}
	return string(buf[:n])
}

// readFigures reads a file, beside dir, of lines such as "oom_kill 3" or "MemTotal:   130864 kB": a name and, first of what follows it, a number. Other lines
// are passed over.
func readFigures(dir int, path string, buf []byte, found func(name string, value uint64)) error {
	n, err := readFileAt(dir, path, buf)
	if err != nil {
		return err
	}
	for text := string(buf[:n]); text != ""; {
		var line string
		line, text, _ = cut(text, '\n')
		i := 0
		for i < len(line) && line[i] != ' ' && line[i] != ':' && line[i] != '\t' {
			i++
		}
		if i == len(line) {
			continue
		}
		if value, _, ok := takeNumber(line[i+1:]); ok {
			found(line[:i], value)
		}
	}
	return nil
}

// readFigure is one of them, 0 if it is not there.
func readFigure(dir int, path, name string, buf []byte) (value uint64) {
	readFigures(dir, path, buf, func(n string, v uint64) {
		if n == name {
			value = v
		}
	})
	return value
}

// readNumber reads a file, beside dir, that holds one number; 0 if there is none.
func readNumber(dir int, path string) uint64 {
	var buf [32]byte
	n, _ := readFileAt(dir, path, buf[:])
	number, _, _ := takeNumber(string(buf[:max(n, 0)]))
	return number
}

// takeNumber takes a decimal number off the front of a text, and the blanks before it.
//
//go:noinline
func takeNumber(text string) (n uint64, rest string, ok bool) {
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
