package main

import (
	"strings"
	"unicode"
)

// printable is a line of the guest's text that does nothing to a terminal: what moves, colours or hides something there is a question mark.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		columns := strings.Split(line, "\t")
		for k := range columns {
			columns[k] = printable(columns[k])
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return strings.Join(lines, "\n")
}
