// Package log writes the agent's log. Each event is one line, at one of four levels, and a write
// never waits for a reader. The package imports internal/sys alone.
package log
