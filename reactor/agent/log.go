package agent

import "golang.org/x/sys/unix"

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
	line    [1024]byte
}

// NewLog logs to fd what is at the level or before it.
func NewLog(fd int, level Level) *Log { return &Log{fd: fd, level: level} }

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
	b := add(l.line[:0], levelNames[level])
	b = add(b, " ")
	b = add(b, message)
	if l.dropped > 0 {
		b = add(b, " dropped=")
		b = add(b, num(l.dropped))
		l.dropped = 0
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		b = add(b, " ")
		b = add(b, pairs[i])
		b = add(b, "=")
		b = appendValue(b, pairs[i+1])
	}
	unix.Write(l.fd, append(b[:min(len(b), maxLine-1)], '\n'))
}

// maxLine is the longest line, in bytes. A pipe or a terminal that is ready takes as much at once.
const maxLine = 2 << 10

// writable reports whether a line can be written without waiting.
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
			return appendQuoted(b, v)
		}
	}
	return add(b, v)
}

//go:noinline
func add(b []byte, text string) []byte { return append(b, text...) }
