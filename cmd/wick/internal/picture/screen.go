package main

import (
	"strings"
	"unicode/utf8"
)

// screen is what a terminal shows, with any number of lines. It moves the cursor only as shells and
// wick need: carriage return, line feed, tab and "erase to the end of the line". Other sequences
// show nothing.
type screen struct {
	lines   [][]cell
	col     int
	pending string // the beginning of an incomplete escape sequence or character
	echoing bool   // the echo of typed text is not yet complete
	expect  []rune // the rest of the expected echo
}

type cell struct {
	r     rune
	typed bool
}

func (s *screen) line() *[]cell {
	if len(s.lines) == 0 {
		s.lines = append(s.lines, nil)
	}
	return &s.lines[len(s.lines)-1]
}

// typing marks the following output as typed, up to the end of the line: the echo of keys.
func (s *screen) typing(keys string) { s.echoing, s.expect = true, []rune(keys) }

func (s *screen) write(text string) {
	text = s.pending + text
	s.pending = ""
	for text != "" {
		switch text[0] {
		case '\r':
			s.col, text = 0, text[1:]
		case '\n':
			s.line()
			s.lines, text = append(s.lines, nil), text[1:]
			s.echoing, s.expect = false, nil
		case '\t':
			s.put(' ')
			for s.col%8 != 0 {
				s.put(' ')
			}
			text = text[1:]
		case '\x1b':
			n := sequence(text)
			if n == 0 {
				s.pending = text
				return
			}
			if line := s.line(); text[:n] == "\x1b[K" && s.col < len(*line) {
				*line = (*line)[:s.col]
			}
			text = text[n:]
		default:
			if !utf8.FullRuneInString(text) {
				s.pending = text
				return
			}
			r, n := utf8.DecodeRuneInString(text)
			text = text[n:]
			if r >= ' ' {
				s.put(r)
			}
		}
	}
}

// sequence returns the length of the escape sequence at the start of text, or 0 if it is
// incomplete.
func sequence(text string) int {
	if len(text) < 2 {
		return 0
	}
	if text[1] != '[' {
		return 2
	}
	for i := 2; i < len(text); i++ {
		if text[i] >= '@' && text[i] <= '~' {
			return i + 1
		}
	}
	return 0
}

func (s *screen) put(r rune) {
	line := s.line()
	for len(*line) <= s.col {
		*line = append(*line, cell{r: ' '})
	}
	c := cell{r: r}
	if len(s.expect) > 0 && s.expect[0] == r {
		c.typed, s.expect = true, s.expect[1:]
	}
	(*line)[s.col] = c
	s.col++
}

// last returns the text of the last line.
func (s *screen) last() string {
	var b strings.Builder
	for _, c := range *s.line() {
		b.WriteRune(c.r)
	}
	return b.String()
}

// dropLast removes the last line.
func (s *screen) dropLast() { s.lines = s.lines[:len(s.lines)-1] }

// The sequences for typed text and for the rest.
const (
	green = "\x1b[92m"
	plain = "\x1b[0m"
)

// ansi returns the whole screen as text with such sequences. Adjacent empty lines become one.
func (s *screen) ansi() string {
	var b strings.Builder
	before := true
	for _, line := range s.lines {
		if len(line) == 0 && before {
			continue
		}
		before = len(line) == 0
		typed := false
		for _, c := range line {
			if c.typed != typed {
				b.WriteString(map[bool]string{true: green, false: plain}[c.typed])
				typed = c.typed
			}
			b.WriteRune(c.r)
		}
		if typed {
			b.WriteString(plain)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
