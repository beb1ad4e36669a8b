package machine

import (
	"slices"
	"strings"
)

// Exit says how a machine ended.
type Exit struct {
	// Killed says that Kill ended it. Otherwise Panic is the kernel's last message after a panic,
	// and Err is the error of a failed monitor. If all three are zero the guest went down by
	// itself.
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

// MonitorError reports a virtual machine monitor that failed.
type MonitorError struct {
	Program string
	Status  string
	Output  string // the last output
}

func (e *MonitorError) Error() string {
	s := e.Program + " failed: " + e.Status
	if e.Output != "" {
		s += ": " + e.Output
	}
	return s
}

// panicMark precedes the reason of a panic.
const panicMark = "Kernel panic - not syncing: "

// panicked returns the reason of a kernel panic on the console, or "". If the Go runtime ended
// init, its reason follows.
func (m *Machine) panicked() string {
	lines := m.console.Lines(0)
	for i, line := range lines {
		if _, reason, ok := strings.Cut(line, panicMark); ok {
			if died := fault(lines[:i]); died != nil {
				reason += ": " + died[len(died)-1]
			}
			return reason
		}
	}
	return ""
}

// fault finds the last line in which the Go runtime says why it ends a program, "fatal error: " or
// "panic: ", and a line of details that may precede it. It returns nil without such a line.
func fault(lines []string) []string {
	for i := len(lines) - 1; i >= 0; i-- {
		if !strings.HasPrefix(lines[i], "fatal error: ") &&
			!strings.HasPrefix(lines[i], "panic: ") {
			continue
		}
		from := i
		if i > 0 && strings.HasPrefix(lines[i-1], "runtime: ") {
			from--
		}
		return slices.Clone(lines[from : i+1])
	}
	return nil
}
