package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// expect runs a step NAME< …
func (r *run) expect(name, text string) error {
	c, err := r.connection(name)
	if err != nil {
		return err
	}
	if text == "closed" {
		got, err := r.receive(c)
		if err == nil {
			return fmt.Errorf("want the connection closed\n got %s", got)
		}
		if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("want the connection closed\n got %w", err)
		}
		return nil
	}
	if rest, ok := strings.CutPrefix(text, "flooded "); ok {
		done := make(chan error, 1)
		go func(rest []byte) {
			c.SetWriteDeadline(time.Now().Add(r.c.deadline))
			_, err := c.Write(rest)
			done <- err
		}(c.rest)
		c.rest = nil
		for range c.flooded {
			if err := r.expectFrame(c, rest); err != nil {
				return err
			}
		}
		c.flooded = 0
		return <-done
	}
	if rest, ok := strings.CutPrefix(text, "within "); ok {
		number, line, _ := strings.Cut(rest, " ")
		most, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		return r.within(c, most, line)
	}
	for _, line := range unroll(text) {
		if err := r.expectFrame(c, line); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) expectFrame(c *connection, want string) error {
	if strings.HasPrefix(want, "chunks ") {
		return r.chunks(c, want)
	}
	if strings.HasPrefix(want, "ran ") || strings.HasPrefix(want, "outputs ") {
		return r.expectMany(c, want)
	}
	receive := r.receive
	if strings.HasPrefix(want, "all ") {
		receive = r.all
	}
	got, err := receive(c)
	if err != nil {
		return fmt.Errorf("want %s\n got %w", want, err)
	}
	return r.matches(got, want)
}

// anyOrder receives as many frames as there are lines, and matches each with a line.
func (r *run) anyOrder(lines []string) error {
	want := map[string][]string{}
	var names []string
	for _, line := range lines {
		m := connectionStep.FindStringSubmatch(line)
		if m == nil || m[2] != "<" {
			return fmt.Errorf("in any order only NAME< … can stand, not %q", line)
		}
		if want[m[1]] == nil {
			names = append(names, m[1])
		}
		want[m[1]] = append(want[m[1]], unroll(m[3])...)
	}
	for _, name := range names {
		c, err := r.connection(name)
		if err != nil {
			return err
		}
		open := want[name]
	frames:
		for len(open) > 0 {
			got, err := r.receive(c)
			if err != nil {
				return fmt.Errorf("want %s< %s (and %d more)\n got %w", name, open[0], len(open)-1, err)
			}
			var last error
			for i, line := range open {
				if last = r.matches(got, line); last == nil {
					open = append(open[:i:i], open[i+1:]...)
					continue frames
				}
			}
			if len(open) > 1 {
				last = fmt.Errorf("want any of\n%s< %s\n got %s", name,
					strings.Join(open[:min(len(open), 10)], "\n"+name+"< "), got)
			}
			return last
		}
	}
	return nil
}

var noticePattern = regexp.MustCompile(`\[output truncated: (\d+) bytes of stdout, (\d+) bytes of stderr dropped\]\n?(?:Timeout\n?)?$`)

// expected parses a line into the name of the frame and its fields.
func (r *run) expected(line string) (name string, fs fieldSet, err error) {
	tokens, err := scan(r.expand(line))
	if err != nil {
		return "", nil, err
	}
	s := &scanner{tokens}
	name = s.next().text
	fs, err = s.fields()
	return name, fs, err
}

// matches compares a frame with a line: its name, its seq (0 if the line has no seq), and the
// fields that the line names. It captures nothing unless all of them match.
func (r *run) matches(got *received, want string) error {
	name, fs, err := r.expected(want)
	if err != nil {
		return err
	}
	mismatch := func(why string) error {
		return fmt.Errorf("want %s\n got %s\n     %s", want, got, why)
	}
	if got.name != name {
		return mismatch("it is another frame")
	}
	if _, ok := fs.get("seq"); !ok {
		fs = append(fs, field{"seq", "=", []byte("0")})
	}
	captured := map[string]string{}
	for _, f := range fs {
		base, attribute, _ := strings.Cut(f.name, ".")
		if _, ok := got.fields[f.name]; ok { // a name with a dot in it
			base, attribute = f.name, ""
		}
		v, ok := got.fields[base]
		if !ok && f.name != "size" {
			return mismatch(fmt.Sprintf("a %s has no field %s", name, base))
		}
		switch {
		case f.name == "size":
			v = []byte(strconv.Itoa(got.size))
		case attribute == "len":
			v = []byte(strconv.Itoa(len(v)))
		case attribute == "total":
			// The total is what was kept and what the notice says was dropped.
			m := noticePattern.FindSubmatchIndex(got.fields["stderr"])
			if m == nil {
				return mismatch("stderr has no notice of truncation")
			}
			stderr := got.fields["stderr"]
			kept, dropped := len(v), stderr[m[2]:m[3]]
			if base == "stderr" {
				kept, dropped = m[0], stderr[m[4]:m[5]]
			}
			n, _ := strconv.Atoi(string(dropped))
			v = []byte(strconv.Itoa(kept + n))
		case attribute != "":
			return mismatch("no attribute " + attribute)
		}
		if err := compare(f, v); err != nil {
			return mismatch(f.name + ": " + err.Error())
		}
		if f.op == "=>" {
			captured[string(f.value)] = strings.TrimSuffix(string(v), "\n")
		}
	}
	for k, v := range captured {
		r.vars[k] = v
	}
	return nil
}

func compare(f field, got []byte) error {
	switch f.op {
	case "=>":
		return nil
	case "=":
		if !bytes.Equal(got, f.value) {
			i := 0
			for i < len(got) && i < len(f.value) && got[i] == f.value[i] {
				i++
			}
			if len(got)+len(f.value) < 200 {
				return fmt.Errorf("it is %q, not %q", got, f.value)
			}
			return fmt.Errorf("%d bytes, not %d, and different from byte %d on: %s, not %s", len(got), len(f.value), i,
				quoted(got[i:min(len(got), i+80)]), quoted(f.value[i:min(len(f.value), i+80)]))
		}
	case "~", "!~":
		re, err := regexp.Compile(string(f.value))
		if err != nil {
			return err
		}
		if re.Match(got) != (f.op == "~") {
			return fmt.Errorf("%s %s %q", quoted(got), map[string]string{"~": "does not match", "!~": "matches"}[f.op], f.value)
		}
	case "<", ">=", "<=", ">":
		a, err1 := strconv.ParseFloat(string(got), 64)
		b, err2 := strconv.ParseFloat(string(f.value), 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%q and %q are not both numbers", got, f.value)
		}
		if !map[string]bool{"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[f.op] {
			return fmt.Errorf("%s is not %s %s", got, f.op, f.value)
		}
	default:
		return fmt.Errorf("no operator %q", f.op)
	}
	return nil
}
