package output

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns a line of the guest's text that is safe to print on a terminal. Characters
// that are not printable become question marks.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// PrintableLines returns text of several lines with each made printable. Tabs stay.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		columns := strings.Split(line, "\t")
		for k := range columns {
			columns[k] = Printable(columns[k])
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return strings.Join(lines, "\n")
}

// PrintableWriter writes lines of a guest to W as [PrintableLines] returns them. It must not be
// used concurrently.
type PrintableWriter struct {
	W io.Writer
	// held is an incomplete character or end of line, which the next Write completes.
	held []byte
	out  []byte
}

// Write implements io.Writer.
func (p *PrintableWriter) Write(b []byte) (int, error) {
	in := append(p.held, b...)
	p.out = p.out[:0]
	for len(in) > 0 {
		r, size := utf8.DecodeRune(in)
		if in[0] == '\r' && len(in) == 1 || r == utf8.RuneError && !utf8.FullRune(in) {
			break
		}
		switch {
		case r == '\r' && (in[1] == '\n' || in[1] == '\r'): // the end of line of a serial port, or two
		case r == '\n', r == '\t', unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			p.out = append(p.out, in[:size]...)
		default:
			p.out = append(p.out, '?')
		}
		in = in[size:]
	}
	p.held = append([]byte(nil), in...)
	if _, err := p.W.Write(p.out); err != nil {
		return 0, err
	}
	return len(b), nil
}
