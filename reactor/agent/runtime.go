package agent

import "wick/reactor/agent/internal/sys"

// Args returns the program's arguments, as os.Args has them.
func Args() []string { return sys.Args() }

// Tune prepares the process for an agent: its descriptors, and the Go runtime for a single loop.
func Tune() { sys.Tune() }
