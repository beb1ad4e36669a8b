package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// Level says how much is logged.
type Level uint8

// The levels, each with all before it. At LevelInfo nothing is logged per message.
const (
	LevelError Level = iota
	LevelWarn
	LevelInfo
	LevelDebug
)

var levelNames = [...]string{"error", "warn", "info", "debug"}

// ParseLevel is the level of that name.
func ParseLevel(name string) (l Level, ok bool) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), true
		}
	}
	return LevelInfo, false
}

// Log writes lines of "level message key=value" to a descriptor, one write per line. A line that cannot be
// written at once is dropped and counted: a console that nobody reads must not stop the agent.
type Log struct {
	fd      int
	level   Level
	dropped int
	cut     bool // the last line has no end
	line    [1024]byte
}

// NewLog logs to fd what is at the level or before it.
func NewLog(fd int, level Level) *Log { return &Log{fd: fd, level: level} }

// separate has the lines for a terminal go through an open file of the log's own, which does not wait. Of a terminal poll(2) says that there is
// room for some of a line, and who writes one that is longer waits, perhaps for ever, for somebody to read. The file that the log was given is as it
// was, for others may have it too.
func (l *Log) separate() {
	if _, err := unix.IoctlGetTermios(l.fd, unix.TCGETS); err != nil {
		return
	}
	if fd, err := unix.Open(sys.FDPath(l.fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		l.fd = fd
	}
}

// Enabled reports whether lines of the level are written. It is for callers whose values cost something to make.
func (l *Log) Enabled(level Level) bool { return level <= l.level }

// Error, Warn, Info and Debug write a line; pairs are keys and values in turn. Nothing of a command, of its environment or of a file's
// content may be in it.
func (l *Log) Error(message string, pairs ...string) { l.write(LevelError, message, pairs) }

// Warn: see Error.
//
//go:noinline
func (l *Log) Warn(message string, pairs ...string) { l.write(LevelWarn, message, pairs) }

// Info: see Error.
//
//go:noinline
func (l *Log) Info(message string, pairs ...string) { l.write(LevelInfo, message, pairs) }

// Debug: see Error.
func (l *Log) Debug(message string, pairs ...string) { l.write(LevelDebug, message, pairs) }

func (l *Log) write(level Level, message string, pairs []string) {
	if !l.Enabled(level) {
		return
	}
	if !l.writable() {
		l.dropped++
		return
	}
	b := l.line[:0]
	if l.cut {
		b = add(b, "\n")
	}
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

// maxLine is the longest line, in bytes. A pipe or a terminal that is ready takes as much at once.
const maxLine = 2 << 10

// writable reports whether a line can be written without waiting; to a terminal, whether some of it can.
func (l *Log) writable() bool {
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLOUT != 0
}

// appendValue quotes a value that would not read as one word.
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

//go:noinline
func add(b []byte, text string) []byte { return append(b, text...) }
