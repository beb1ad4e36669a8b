package machine

import "strings"

// Exit is how a machine ended.
type Exit struct {
	// Killed says that Kill ended it. Otherwise Panic is the kernel's last message if it panicked, and Err what is wrong if the
	// monitor failed. If all three are zero the guest went down by itself.
	Killed bool
	Panic  string
	Err    error
}

func (e Exit) String() string {
	switch {
	case e.Killed:
		return "killed"
	case e.Panic != "":
		return "kernel panic: " + e.Panic
	case e.Err != nil:
		return e.Err.Error()
	}
	return "the guest went down"
}

// A MonitorError is a virtual machine monitor that failed.
type MonitorError struct {
	Program string
	Status  string
	Output  string // the last it wrote
}

func (e *MonitorError) Error() string {
	s := e.Program + " failed: " + e.Status
	if e.Output != "" {
		s += ": " + e.Output
	}
	return s
}

// panicMark stands before the reason of a panic.
const panicMark = "Kernel panic - not syncing: "

// panicked is what the kernel panicked of, as far as it said so on the console.
func (m *Machine) panicked() string {
	for _, line := range m.console.Lines(0) {
		if _, reason, ok := strings.Cut(line, panicMark); ok {
			return reason
		}
	}
	return ""
}
