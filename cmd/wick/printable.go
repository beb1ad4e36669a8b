package main

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
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

// printableWriter passes lines of a guest on so that they do nothing to a terminal, as
// [printableLines] does. It is for one writer at a time.
type printableWriter struct {
	w io.Writer
	// held is the beginning of what the next Write completes: a character, or the end of a line.
	held []byte
	out  []byte
}

// Write implements io.Writer.
func (p *printableWriter) Write(b []byte) (int, error) {
	in := append(p.held, b...)
	p.out = p.out[:0]
	for len(in) > 0 {
		r, size := utf8.DecodeRune(in)
		if in[0] == '\r' && len(in) == 1 || r == utf8.RuneError && !utf8.FullRune(in) {
			break
		}
		switch {
		case r == '\r' && (in[1] == '\n' || in[1] == '\r'): // a serial port's end of line, or two of them
		case r == '\n', r == '\t', unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			p.out = append(p.out, in[:size]...)
		default:
			p.out = append(p.out, '?')
		}
		in = in[size:]
	}
	p.held = append([]byte(nil), in...)
	if _, err := p.w.Write(p.out); err != nil {
		return 0, err
	}
	return len(b), nil
}
