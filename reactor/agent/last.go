package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/evidence"
	"wick/reactor/agent/internal/sys"
)

// LastJob is the job that writes the file of last words, for Main. Its argument is the path, and
// its standard input has the words.
var LastJob = evidence.LastJob

// TakeLast returns the facts of the file of last words that the last boot has written. It gives the
// file the name of an old one.
func TakeLast(path string) [][2]string { return evidence.TakeLast(path) }

// LastWords returns what the file of last words says of a machine that ends: the time, the cause,
// and the warnings of the log. a is the agent that served it, or nil.
func LastWords(a *Agent, cause string, log *Log) string {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	words := "unix=" + sys.Num(now.Sec) + "\nuptime=" + sys.Uptime() + "\n"
	var f framing.Facts
	if a != nil {
		if cause == "" {
			cause = a.cause
		}
		a.services.AddFacts(&f)
	}
	words += "cause=" + cause + "\n"
	for name, value := range f.All {
		words += string(name) + "=" + string(value) + "\n"
	}
	return sys.Clip(words+"\n"+log.Kept(), evidence.MaxWords)
}
