package log

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Level says which lines are written.
type Level uint8

// These are the levels. Each includes those before it. At LevelInfo no message of a host makes a
// line.
const (
	LevelError Level = iota
	LevelWarn
	LevelInfo
	LevelDebug
)

var levelNames = [...]string{"error", "warn", "info", "debug"}

// ParseLevel returns the level of that name.
func ParseLevel(name string) (l Level, ok bool) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), true
		}
	}
	return LevelInfo, false
}

// Log writes lines of "level message key=value" to a descriptor, with one write(2) per line. It
// drops and counts lines that cannot be written at once, because a console without a reader must
// not stop the agent.
type Log struct {
	fd      int
	level   Level
	dropped int
	cut     bool // the last line was written in part
	keeps   int  // the most bytes in kept; 0 keeps nothing
	kept    []byte
	line    [1024]byte
}

// New returns a log that writes lines of the level, and of the levels before it, to fd.
func New(fd int, level Level) *Log { return &Log{fd: fd, level: level} }

// Keep has the log keep the newest lines at LevelError and LevelWarn in n bytes, written or not.
func (l *Log) Keep(n int) { l.keeps = n }

// Kept returns these lines.
func (l *Log) Kept() string { return string(l.kept) }

// keep keeps a line, and drops the oldest ones that leave it no room.
func (l *Log) keep(line []byte) {
	if len(line) > l.keeps {
		return
	}
	if l.kept == nil {
		l.kept = make([]byte, 0, l.keeps)
	}
	if over := len(l.kept) + len(line) - l.keeps; over > 0 {
		for l.kept[over-1] != '\n' { // the last byte is one
			over++
		}
		l.kept = l.kept[:copy(l.kept, l.kept[over:])]
	}
	l.kept = append(l.kept, line...)
}

// FD returns the descriptor that the log writes to.
func (l *Log) FD() int { return l.fd }

// Dropped returns how many lines were dropped since the last one that was written.
func (l *Log) Dropped() int { return l.dropped }

// Separate reopens a terminal that the log writes to, so that the log has its own open file, which
// is non-blocking. poll(2) reports a terminal as writable even if it has room for only a part of a
// line. A longer line would block the log until the terminal is read. The flags of the original
// open file do not change, because other processes may share it.
func (l *Log) Separate() {
	if _, err := unix.IoctlGetTermios(l.fd, unix.TCGETS); err != nil {
		return
	}
	const flags = unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if fd, err := unix.Open(sys.FDPath(l.fd), flags, 0); err == nil {
		l.fd = fd
	}
}

// Level returns the level.
func (l *Log) Level() Level { return l.level }

// SetLevel sets the level of later lines.
func (l *Log) SetLevel(level Level) { l.level = level }

// Enabled reports whether lines of the level are written. Callers ask first if the values are
// costly.
func (l *Log) Enabled(level Level) bool { return level <= l.level }

// Error writes a line at LevelError. pairs are keys and values in turn. They must not contain any
// part of a command, of its environment or of a file.
func (l *Log) Error(message string, pairs ...string) { l.write(LevelError, message, pairs) }

// Warn writes a line at LevelWarn as Error does.
func (l *Log) Warn(message string, pairs ...string) { l.write(LevelWarn, message, pairs) }

// Info writes a line at LevelInfo as Error does.
func (l *Log) Info(message string, pairs ...string) { l.write(LevelInfo, message, pairs) }

// Debug writes a line at LevelDebug as Error does.
func (l *Log) Debug(message string, pairs ...string) { l.write(LevelDebug, message, pairs) }

// Panic logs a panic of the agent: where it was recovered, its value, and the stack.
func (l *Log) Panic(where string, value any, stack []byte) {
	text := "unknown"
	switch v := value.(type) {
	case error:
		text = v.Error()
	case string:
		text = v
	case int:
		text = sys.Num(v)
	}
	l.Error("panic", "in", where, "value", text, "stack", string(stack))
}

func (l *Log) write(level Level, message string, pairs []string) {
	if !l.Enabled(level) {
		return
	}
	writable := l.writable()
	if !writable && (level > LevelWarn || l.keeps == 0) {
		l.dropped++
		return
	}
	b := l.line[:0]
	if l.cut {
		b = add(b, "\n")
	}
	begin := len(b)
	b = add(b, levelNames[level])
	b = add(b, " ")
	b = add(b, message)
	if l.dropped > 0 {
		b = add(b, " dropped=")
		b = add(b, sys.Num(l.dropped))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		b = add(b, " ")
		b = add(b, pairs[i])
		b = add(b, "=")
		b = appendValue(b, pairs[i+1])
	}
	b = append(b[:min(len(b), maxLine-1)], '\n')
	if level <= LevelWarn {
		l.keep(b[begin:])
	}
	if !writable {
		l.dropped++
		return
	}
	switch n, _ := unix.Write(l.fd, b); {
	case n == len(b):
		l.dropped, l.cut = 0, false
	case n > 0:
		l.cut = true
		fallthrough
	default:
		l.dropped++
	}
}

// Copy writes bytes that are no line of the log, such as the output of a process. It drops what
// cannot be written at once, and counts that as a line.
func (l *Log) Copy(b []byte) {
	for len(b) > 0 {
		n := 0
		if l.writable() {
			n, _ = unix.Write(l.fd, b[:min(len(b), maxLine)])
		}
		if n <= 0 {
			l.dropped++
			return
		}
		l.cut = b[n-1] != '\n'
		b = b[n:]
	}
}

// maxLine is the longest line, in bytes. A writable pipe or terminal takes that much at once.
const maxLine = 2 << 10

// writable reports whether a line can be written without blocking. A terminal may take only a part.
func (l *Log) writable() bool {
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLOUT != 0
}

// appendValue appends a value, in quotes unless it is one word.
func appendValue(b []byte, v string) []byte {
	if v == "" {
		return add(b, `""`)
	}
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c == '"' || c == '=' || c >= 0x7f {
			return sys.AppendQuoted(b, v)
		}
	}
	return add(b, v)
}

func add(b []byte, text string) []byte { return append(b, text...) }
