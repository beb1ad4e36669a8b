package agent

import "wick/reactor/agent/internal/log"

// Log writes lines of "level message key=value" to a descriptor. It never waits for a reader.
type Log = log.Log

// Level selects which lines are written.
type Level = log.Level

// The levels. Each includes those before it. At LevelInfo no message from a host writes a line.
const (
	LevelError = log.LevelError
	LevelWarn  = log.LevelWarn
	LevelInfo  = log.LevelInfo
	LevelDebug = log.LevelDebug
)

// NewLog returns a log that writes lines up to level to fd. The caller owns fd.
func NewLog(fd int, level Level) *Log { return log.New(fd, level) }
