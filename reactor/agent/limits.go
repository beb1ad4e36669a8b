package agent

import (
	"time"

	"wick/reactor/agent/internal/contain"
)

// Limits bounds what hosts and commands can make grow. A field that is 0 has its default.
type Limits struct {
	// Conns is the most connections at a time (64). One more gets an error and is closed.
	Conns uint32
	// Commands is the most commands and processes running at a time (256). One more gets an error.
	Commands uint32
	// Exits is the most process_exits kept while no host is connected (256). The oldest is dropped.
	Exits uint32
	// Kept is the most processes at a time that outlive their connection (64). One more gets an
	// error.
	Kept uint32
	// Pids is the most processes and threads of one command at a time, if its cgroup can count
	// them. More forks fail. The default is one for each 256 KiB of the machine's memory, at least
	// 128 and at most 16,384.
	Pids uint32
	// Spool limits each output of a command on disk, in MiB (16, the most that a frame holds). The
	// rest is dropped.
	Spool uint32
	// SpoolTotal limits all outputs on disk together, in MiB (512). Output beyond it is dropped.
	SpoolTotal uint32
	// Watches is the most directories at a time whose changes are reported (8192). A watch that
	// needs one more ends.
	Watches uint32
}

// maxLimit is the highest value of a limit.
const maxLimit = 1 << 16

// limitOption is an option that sets a limit. It is the only place of the limit's default.
type limitOption struct {
	name, value, help string

	field   func(*Limits) *uint32
	initial uint32 // the default
}

var limitOptions = [...]limitOption{
	{"--max-connections", "N", "connections at a time (default 64)",
		func(l *Limits) *uint32 { return &l.Conns }, 64},
	{"--max-commands", "N", "commands running at a time (default 256)",
		func(l *Limits) *uint32 { return &l.Commands }, 256},
	{"--max-pids", "N", "processes of one command (default: one for 256 KiB of memory)",
		func(l *Limits) *uint32 { return &l.Pids }, 0},
	{"--max-spool", "MIB", "each output of a command on disk (default 16)",
		func(l *Limits) *uint32 { return &l.Spool }, 16},
	{"--max-spool-total", "MIB", "all outputs on disk (default 512)",
		func(l *Limits) *uint32 { return &l.SpoolTotal }, 512},
	{"--max-kept", "N", "processes kept without a connection (default 64)",
		func(l *Limits) *uint32 { return &l.Kept }, 64},
	{"--max-exits", "N", "process_exits kept unsent (default 256)",
		func(l *Limits) *uint32 { return &l.Exits }, 256},
	{"--max-watches", "N", "directories watched at a time (default 8192)",
		func(l *Limits) *uint32 { return &l.Watches }, 8192},
}

// complete sets the defaults.
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

// lastWordsLimits are the limits of an agent with LastWords. Its buffers take 1 MiB, because the
// boot may have failed for want of the usual 36 MiB.
var lastWordsLimits = Limits{Conns: 4, Commands: 1, Kept: 1}

// captureBuffers is the number of buffers for the start of outputs. A buffer takes no memory until
// it is used.
const captureBuffers = 64

const (
	// stopGrace is how long the shutdown waits for commands to end, and for hosts to take their
	// results.
	stopGrace = 500 * time.Millisecond
	// answerGrace is how long a machine that is ready to power off waits for the host to take the
	// answer to its power request. A slow host would otherwise take it for a crash.
	answerGrace = 3 * time.Second
	// downGrace is how long a machine's shutdown waits between SIGTERM and SIGKILL, and killedGrace
	// how long it waits after SIGKILL.
	downGrace   = 5 * time.Second
	killedGrace = time.Second
	// lastWordsGrace is how long an agent with LastWords waits for a host.
	lastWordsGrace = 5 * time.Second
)
