package main_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// conformanceCase is one case of a transcript. testdata/conformance/README.md describes the
// language.
type conformanceCase struct {
	name  string
	file  string
	line  int
	rules []string // the names of the protocol's rules that the case shows

	flags    string        // agent: the agent's command line
	env      []string      // env: added to the agent's environment
	before   string        // before: shell text run in the process that then becomes the agent
	after    []string      // after: shell commands run at the end, whatever happened
	needs    []string      // needs: condition -- remedy
	tries    int           // tries: for a case that races against a time the protocol states
	deadline time.Duration // deadline: of each wait
	steps    []transcriptStep
}

type transcriptStep struct {
	line int
	text string
}

// starts reports whether the case starts the agent itself. Otherwise the agent starts before the
// first step.
func (c *conformanceCase) starts() bool {
	for _, s := range c.steps {
		if s.text == "start" {
			return true
		}
	}
	return false
}

var directive = regexp.MustCompile(`^(agent|env|before|after|needs|tries|deadline): (.*)$`)

func readTranscript(file string) ([]*conformanceCase, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var cases []*conformanceCase
	var c *conformanceCase
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := strings.TrimSpace(lines[i])
		for strings.HasSuffix(line, " \\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + strings.TrimSpace(lines[i])
		}
		bad := func(why string) error {
			return fmt.Errorf("%s:%d: %s: %s", filepath.Base(file), number, why, line)
		}
		switch m := directive.FindStringSubmatch(line); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			c = &conformanceCase{
				name: line[3:], file: filepath.Base(file), line: number,
				flags: "--unix-socket ${SOCK}", tries: 1, deadline: 20 * time.Second,
			}
			cases = append(cases, c)
		case c == nil:
			return nil, bad("stands before the first case")
		case strings.HasPrefix(line, "| "):
			for word := range strings.FieldsSeq(line[2:]) {
				rule, ok := strings.CutPrefix(strings.TrimSuffix(word, "]"), "[")
				if !ok {
					return nil, bad("| is followed by names of rules in brackets")
				}
				c.rules = append(c.rules, rule)
			}
		case m != nil && len(c.steps) > 0:
			return nil, bad("a directive stands before the first step")
		case m != nil:
			switch m[1] {
			case "agent":
				c.flags = m[2]
			case "env":
				c.env = append(c.env, m[2])
			case "before":
				c.before = m[2]
			case "after":
				c.after = append(c.after, m[2])
			case "needs":
				if !strings.Contains(m[2], " -- ") {
					return nil, bad("needs: condition -- remedy")
				}
				c.needs = append(c.needs, m[2])
			case "tries":
				if c.tries, err = strconv.Atoi(m[2]); err != nil {
					return nil, bad(err.Error())
				}
			case "deadline":
				if c.deadline, err = time.ParseDuration(m[2]); err != nil {
					return nil, bad(err.Error())
				}
			}
		default:
			c.steps = append(c.steps, transcriptStep{number, line})
		}
	}
	for _, c := range cases {
		if len(c.rules) == 0 {
			return nil, fmt.Errorf("%s:%d: the case %q names no rule (| [exec.timeout])", c.file, c.line, c.name)
		}
	}
	return cases, nil
}

// token is a token of a step: a word, a quoted string or an operator.
type token struct {
	kind byte // 'w', 's' or 'o'
	text string
}

var tokenPattern = regexp.MustCompile(
	`^(?:("(?:[^"\\]|\\.)*"|` + "`[^`]*`" + `)|(=>|!~|>=|<=|[=~<>+(),])|([^\s"` + "`" + `=~<>+(),!]+))`)

func scan(text string) ([]token, error) {
	var tokens []token
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" {
			return tokens, nil
		}
		m := tokenPattern.FindStringSubmatch(text)
		switch {
		case m == nil:
			return nil, fmt.Errorf("cannot read %q", text)
		case m[1] != "":
			s, err := strconv.Unquote(m[1])
			if err != nil {
				return nil, fmt.Errorf("cannot read %s: %v", m[1], err)
			}
			tokens = append(tokens, token{'s', s})
		case m[2] != "":
			tokens = append(tokens, token{'o', m[2]})
		default:
			tokens = append(tokens, token{'w', m[3]})
		}
		text = text[len(m[0]):]
	}
}

// field is NAME OP VALUE, or a bare word without an operator.
type field struct {
	name  string
	op    string
	value []byte
}

type scanner struct{ tokens []token }

func (s *scanner) is(kind byte, text string) bool {
	return len(s.tokens) > 0 && s.tokens[0].kind == kind && (text == "" || s.tokens[0].text == text)
}

func (s *scanner) next() token {
	if len(s.tokens) == 0 {
		return token{}
	}
	t := s.tokens[0]
	s.tokens = s.tokens[1:]
	return t
}

// value reads terms joined by +. A term is a string, a word, repeat("x", 3), range(1, 255) or
// hex("00 ff").
func (s *scanner) value() ([]byte, error) {
	var b []byte
	for {
		t := s.next()
		switch {
		case t.kind == 's':
			b = append(b, t.text...)
		case t.kind == 'w' && s.is('o', "("):
			s.next()
			var args []string
			for !s.is('o', ")") {
				a := s.next()
				if a.kind == 0 {
					return nil, fmt.Errorf("%s( is not closed", t.text)
				}
				if a.text != "," || a.kind != 'o' {
					args = append(args, a.text)
				}
			}
			s.next()
			v, err := call(t.text, args)
			if err != nil {
				return nil, err
			}
			b = append(b, v...)
		case t.kind == 'w':
			b = append(b, t.text...)
		default:
			return nil, fmt.Errorf("a value is missing before %q", t.text)
		}
		if !s.is('o', "+") {
			return b, nil
		}
		s.next()
	}
}

func call(name string, args []string) ([]byte, error) {
	number := func(i int) int {
		if i < len(args) {
			if n, err := strconv.ParseInt(args[i], 0, 32); err == nil {
				return int(n)
			}
		}
		return -1
	}
	switch {
	case name == "repeat" && len(args) == 2 && number(1) >= 0:
		return []byte(strings.Repeat(args[0], number(1))), nil
	case name == "range" && len(args) == 2 && number(0) >= 0 && number(1) < 256:
		var b []byte
		for c := number(0); c <= number(1); c++ {
			b = append(b, byte(c))
		}
		return b, nil
	case name == "hex" && len(args) == 1:
		return hex.DecodeString(strings.ReplaceAll(args[0], " ", ""))
	}
	return nil, fmt.Errorf("no function %s(%s): there are repeat(text, times), range(first, last), hex(digits)", name, strings.Join(args, ", "))
}

func (s *scanner) fields() (fieldSet, error) {
	var fs fieldSet
	for len(s.tokens) > 0 {
		f := field{}
		if s.is('w', "") {
			f.name = s.next().text
		} else if s.is('o', "~") {
			f.name = "message" // error ~ "text" reads better than error message ~ "text"
		} else {
			return nil, fmt.Errorf("a field's name is missing before %q", s.tokens[0].text)
		}
		if s.is('o', "") {
			f.op = s.next().text
			v, err := s.value()
			if err != nil {
				return nil, err
			}
			f.value = v
		}
		fs = append(fs, f)
	}
	return fs, nil
}

var rangePattern = regexp.MustCompile(`\b(seq=|n=)(\d+)\.\.(\d+)`)

// unroll makes a line for each number of seq=first..last, and replaces ${seq} in it. n=first..last
// does the same with ${n} and is removed, for frames without a seq.
func unroll(text string) []string {
	m := rangePattern.FindStringSubmatch(text)
	if m == nil {
		return []string{text}
	}
	first, _ := strconv.Atoi(m[2])
	last, _ := strconv.Atoi(m[3])
	name := strings.TrimSuffix(m[1], "=")
	var lines []string
	for i := first; i <= last; i++ {
		number := strconv.Itoa(i)
		counter := m[1] + number
		if name == "n" {
			counter = ""
		}
		line := strings.Replace(text, m[0], counter, 1)
		lines = append(lines, strings.ReplaceAll(line, "${"+name+"}", number))
	}
	return lines
}
