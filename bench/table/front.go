package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// front lists the figures that the README shows. A line whose figure begins with a dash belongs to
// the one above.
var front = []string{
	"ping p50, both ends on one CPU",
	"pings, 64 in flight",
	"exec `true` p50",
	"execs, 8 in flight",
	"15 MiB of stdout",
	"write_file 15 MiB",
	"ping p99 while an exec sleeps",
	"idle VmRSS",
	"binary",
	"idle for 3 s: context switches",
	"in a guest: ping p50",
	"in a guest: exec `true` p50",
	"vm-init: its start to ready",
	"vm-init in 128 MiB: VmRSS",
}

// frontOf returns the part of the table that the README shows: the lines of front, how many targets
// are met, and the figures that miss theirs.
func frontOf(table []byte) []byte {
	var lines []byte
	var missed []string
	above, shown, targets := "", true, 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		figure, met := cells[0], cells[len(cells)-1]
		if strings.HasPrefix(figure, "– ") {
			figure = above + " " + figure
		} else {
			head := figure == "figure" || strings.HasPrefix(figure, "---")
			above, shown = figure, head || slices.Contains(front, figure)
		}
		if shown {
			lines = append(lines, line...)
		}
		switch met {
		case "missed":
			missed = append(missed, figure)
			targets++
		case "met":
			targets++
		}
	}
	lines = fmt.Appendf(lines, "\n%d of %d targets are met.", targets-len(missed), targets)
	if missed != nil {
		lines = fmt.Appendf(lines, " Missed are: %s.", strings.Join(missed, "; "))
	}
	return append(lines, '\n')
}

// tableIn returns the table in a text that has one, such as bench/results.txt.
func tableIn(text []byte) []byte {
	_, rest, found := bytes.Cut(text, []byte(head))
	if !found {
		return nil
	}
	lines, _, _ := bytes.Cut(rest, []byte("\n\n"))
	return append([]byte(head), append(lines, '\n')...)
}
