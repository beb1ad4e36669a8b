package main_test

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// output collects what the agent prints, in a file without a name. Everything that the agent
// printed before an answer is there when the answer comes. A pipe might deliver it later.
type output struct{ file *os.File }

func newOutput(t *testing.T) *output {
	f, err := os.CreateTemp(scratch, "output")
	if err == nil {
		t.Cleanup(func() { f.Close() })
		err = os.Remove(f.Name())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &output{f}
}

func (o *output) String() string {
	text, _ := io.ReadAll(io.NewSectionReader(o.file, 0, 1<<30))
	return string(text)
}

// printed runs a step of this form, for stdout or stderr:
//
//	stdout mark | same | lines = N | OP value
func (r *run) printed(which, rest string) error {
	o := r.stdout
	if which == "stderr" {
		o = r.stderr
	}
	text := o.String()
	if rest == "mark" {
		r.marks[which] = len(text)
		return nil
	}
	if rest == "same" {
		if more := text[r.marks[which]:]; more != "" {
			return fmt.Errorf("%s has more since the mark: %s", which, more)
		}
		return nil
	}
	tokens, err := scan(which + " " + rest)
	if err != nil {
		return err
	}
	s := &scanner{tokens}
	s.next()
	f := field{}
	lines := false
	if s.is('w', "lines") {
		s.next()
		lines = true
	}
	f.op = s.next().text
	if f.value, err = s.value(); err != nil {
		return err
	}
	switch {
	case lines && f.op == "=":
		return compare(f, []byte(strconv.Itoa(strings.Count(text, "\n"))))
	case lines:
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if text == "" {
				break
			}
			if err := compare(f, []byte(line)); err != nil {
				return err
			}
		}
		return nil
	}
	return compare(f, []byte(text))
}

func (r *run) clockStep(rest string) error {
	op, limit, _ := strings.Cut(rest, " ")
	if op == "start" {
		r.clock = time.Now()
		return nil
	}
	d, err := time.ParseDuration(limit)
	if err != nil {
		return err
	}
	since := time.Since(r.clock)
	if op == "<" && since < d || op == ">=" && since >= d {
		return nil
	}
	return fmt.Errorf("%v is not %s %v", since, op, d)
}

// exit runs a step exit N [within DURATION].
func (r *run) exit(rest string) error {
	code, within, timed := strings.Cut(rest, " within ")
	limit := r.c.deadline
	if timed {
		var err error
		if limit, err = time.ParseDuration(within); err != nil {
			return err
		}
	}
	select {
	case <-r.exited:
	case <-time.After(limit):
		return fmt.Errorf("the agent has not exited within %v", limit)
	}
	state := r.agent.ProcessState
	if got := strconv.Itoa(state.ExitCode()); got != code {
		return fmt.Errorf("the agent exited with %s (%s), not %s", got, state, code)
	}
	return nil
}

// measure runs a step of one of these forms. Memory is in KiB:
//
//	peak mark | grew < N
//	descriptors mark | same
func (r *run) measure(what, rest string) error {
	proc := "/proc/" + r.vars["AGENT"]
	now := 0
	if what == "descriptors" {
		entries, err := os.ReadDir(proc + "/fd")
		if err != nil {
			return err
		}
		now = len(entries)
	} else {
		status, err := os.ReadFile(proc + "/status")
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
		if m == nil {
			return fmt.Errorf("no VmHWM in %s/status", proc)
		}
		now, _ = strconv.Atoi(string(m[1]))
	}
	if rest == "mark" {
		r.marks[what] = now
		return nil
	}
	grew := now - r.marks[what]
	if rest == "same" {
		if grew != 0 {
			return fmt.Errorf("%d %s, not %d", now, what, r.marks[what])
		}
		return nil
	}
	var limit int
	if _, err := fmt.Sscanf(rest, "grew < %d", &limit); err != nil {
		return fmt.Errorf("%s %s: %w", what, rest, err)
	}
	r.t.Logf("%s %d → %d", what, r.marks[what], now)
	if grew >= limit {
		return fmt.Errorf("%s grew by %d, from %d to %d; the limit is %d", what, grew, r.marks[what], now, limit)
	}
	return nil
}
