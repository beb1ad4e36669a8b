package agent

import (
	"time"

	"wick/reactor/agent/internal/contain"
)

// Limits are what hosts and commands can make grow, and how far. A field that is 0 has its default.
type Limits struct {
	// Conns is the most connections at a time (64); one more is told so and closed.
	Conns uint32
	// Commands is the most commands running at a time (256); one more is answered with an error.
	Commands uint32
	// Exits is the most process_exits kept while there is no connection to send them on (256). The oldest is dropped.
	Exits uint32
	// Kept is the most processes at a time that are kept when their connection is lost (64). Starting one more is answered with an error.
	Kept uint32
	// Pids is the most processes and threads of one command at a time, where they can be counted.
	// More forks fail. The default is one for each 256 KiB of the machine's memory, at least 128 and
	// at most 16,384.
	Pids uint32
	// Spool is the most MiB of each output of a command that are kept on disk (16, which is what one frame holds).
	Spool uint32
	// SpoolTotal is the most MiB that all outputs together have on disk (512). Those that come too late are truncated.
	SpoolTotal uint32
}

// maxLimit is the most that a limit can be set to.
const maxLimit = 1 << 16

// limitOption is an option that sets a limit. The default of each limit stands here alone.
type limitOption struct {
	name, value, help string

	field   func(*Limits) *uint32
	initial uint32
}

var limitOptions = [...]limitOption{
	{"--max-connections", "N", "connections at a time (default 64)", func(l *Limits) *uint32 { return &l.Conns }, 64},
	{"--max-commands", "N", "commands running at a time (default 256)", func(l *Limits) *uint32 { return &l.Commands }, 256},
	{"--max-pids", "N", "processes of one command (default: one for 256 KiB of memory)", func(l *Limits) *uint32 { return &l.Pids }, 0},
	{"--max-spool", "MIB", "each output of a command on disk (default 16)", func(l *Limits) *uint32 { return &l.Spool }, 16},
	{"--max-spool-total", "MIB", "all outputs on disk (default 512)", func(l *Limits) *uint32 { return &l.SpoolTotal }, 512},
	{"--max-kept", "N", "processes kept without a connection (default 64)", func(l *Limits) *uint32 { return &l.Kept }, 64},
	{"--max-exits", "N", "process_exits kept unsent (default 256)", func(l *Limits) *uint32 { return &l.Exits }, 256},
}

// complete fills in the defaults.
func (l *Limits) complete() {
	for i := range limitOptions {
		o := &limitOptions[i]
		if field := o.field(l); *field == 0 {
			*field = o.initial
		}
	}
	if l.Pids == 0 {
		l.Pids = contain.DefaultPids()
	}
}

// lastWordsLimits are the limits of an agent that serves no host. Its buffers are 1 MiB, because
// the reason for it may be that 36 MiB were refused.
var lastWordsLimits = Limits{Conns: 4, Commands: 1, Kept: 1}

// captureBuffers hold the first output of commands. Their memory is address space until it is used.
const captureBuffers = 64

const (
	// stopGrace is how long the end of the agent waits for commands and for hosts to take their results.
	stopGrace = 500 * time.Millisecond
	// answerGrace is how long the machine's end, when all is done, waits for the host that asked for it to have its answer. A slow host would
	// take a machine for one that died.
	answerGrace = 3 * time.Second
	// downGrace is how long the way down of a machine waits between SIGTERM and SIGKILL, and killedGrace after it.
	downGrace   = 5 * time.Second
	killedGrace = time.Second
	// lastWordsGrace is how long a machine that could not boot looks for a host to tell.
	lastWordsGrace = 5 * time.Second
)
