package agent

import "wick/reactor/agent/internal/log"

// Log writes lines of "level message key=value" to a descriptor, without ever waiting for a reader.
type Log = log.Log

// Level says which lines are written.
type Level = log.Level

// The levels. Each includes those before it. At LevelInfo no message of a host makes a line.
const (
	LevelError = log.LevelError
	LevelWarn  = log.LevelWarn
	LevelInfo  = log.LevelInfo
	LevelDebug = log.LevelDebug
)

// NewLog returns a log that writes the lines of the level, and of those before it, to fd.
func NewLog(fd int, level Level) *Log { return log.New(fd, level) }
