// Package log writes the agent's log: one line per event, at one of four levels, without ever waiting
// for a reader. It imports internal/sys alone.
package log
