package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run is a case under way: its agent, its directory and its connections.
type run struct {
	t      *testing.T
	c      *conformanceCase
	binary string
	marker string // an entry in the environment of everything that the case starts
	dir    string
	vars   map[string]string

	agent   *exec.Cmd
	exited  chan struct{} // closed when the agent has exited
	stdout  *output
	stderr  *output
	tracer  *exec.Cmd
	conns   map[string]*connection
	host    *hostSocket
	fifos   map[string]int
	peers   peers
	started time.Time
	clock   time.Time
	marks   map[string]int
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// expand replaces ${NAME} with the variables of the case. It leaves every other $ to the shell.
func (r *run) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := r.vars[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

func (r *run) environment() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", r.marker}
	for _, e := range r.c.env {
		env = append(env, r.expand(e))
	}
	return env
}

// shell runs a command of the host in the case's directory.
func (r *run) shell(command string) (string, error) {
	// Do not use a pipe. A process that the command leaves behind would hold it open, and block the
	// case.
	out := newOutput(r.t)
	defer out.file.Close()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = r.dir
	cmd.Env = append(r.environment(), "DIR="+r.dir, "SOCK="+r.vars["SOCK"], "AGENT="+r.vars["AGENT"])
	cmd.Stdout, cmd.Stderr = out.file, out.file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	timer := time.AfterFunc(r.c.deadline, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	timer.Stop()
	if err != nil {
		return "", fmt.Errorf("%v: %s", err, out.String())
	}
	return out.String(), nil
}

func (r *run) start() error {
	script := `exec "$@"`
	if r.c.before != "" {
		script = r.expand(r.c.before) + "; " + script
	}
	args := []string{"-c", script, "sh", r.binary}
	args = append(args, strings.Fields(r.expand(r.c.flags))...)
	cmd := exec.Command("sh", args...)
	cmd.Dir = r.dir
	cmd.Env = r.environment()
	cmd.Stdout, cmd.Stderr = r.stdout.file, r.stderr.file
	// The agent has its own process group, so that signals to the test's group do not reach it, or
	// the reverse.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r.started = time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	r.agent, r.exited = cmd, exited
	r.vars["AGENT"] = strconv.Itoa(cmd.Process.Pid)
	go func() {
		cmd.Wait()
		close(exited)
	}()
	return nil
}

// end stops everything that the case started. It kills the agent, and then all processes that it or
// the host's commands left. It knows them by the marker in their environment.
func (r *run) end() {
	for _, c := range r.conns {
		c.Close()
	}
	if r.host != nil {
		unix.Close(r.host.fd)
	}
	for _, fd := range r.fifos {
		unix.Close(fd)
	}
	r.peers.close()
	r.inject("nothing")
	if r.agent != nil {
		r.agent.Process.Kill()
		<-r.exited
	}
	for range 100 {
		found := false
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() {
				continue
			}
			env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
			if bytes.Contains(env, []byte(r.marker+"\x00")) && alive(pid) {
				syscall.Kill(pid, syscall.SIGKILL)
				found = true
			}
		}
		if !found {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, command := range r.c.after {
		if _, err := r.shell(r.expand(command)); err != nil {
			r.t.Logf("after: %s: %v", command, err)
		}
	}
}

// alive reports whether a process exists and is no zombie. The agent need not reap the orphans of a
// test.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && i+2 < len(stat) && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// poll calls try until it succeeds or the case's deadline passes, and then returns the last error.
// A file, a process or a listening socket gives no event to wait for from outside.
func (r *run) poll(try func() error) error {
	limit := time.Now().Add(r.c.deadline)
	for {
		err := try()
		if err == nil || time.Now().After(limit) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var errExited = errors.New("the agent has exited")

func (r *run) agentGone() bool {
	if r.agent == nil {
		return false
	}
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// play runs all steps. Its error names the line.
func (r *run) play() error {
	if !r.c.starts() {
		if err := r.start(); err != nil {
			return err
		}
	}
	return r.steps(r.c.steps)
}

func (r *run) steps(steps []transcriptStep) error {
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		block := func() (inner []transcriptStep) {
			for i++; i < len(steps) && steps[i].text != "end"; i++ {
				inner = append(inner, steps[i])
			}
			return inner
		}
		var err error
		var times int
		if s.text == "in any order" {
			var lines []string
			for _, s := range block() {
				lines = append(lines, r.expand(s.text))
			}
			err = r.anyOrder(lines)
		} else if _, no := fmt.Sscanf(s.text, "times %d", &times); no == nil {
			inner := block()
			for range times {
				if err := r.steps(inner); err != nil {
					return err
				}
			}
		} else {
			err = r.step(r.expand(s.text))
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s\n %w", r.c.file, s.line, s.text, err)
		}
	}
	return nil
}

var connectionStep = regexp.MustCompile(`^([A-Z]?)([<>]|:) (.*)$`)

// step runs one line. The line is expanded already, except for variables that a frame captures
// meanwhile.
func (r *run) step(text string) error {
	if m := connectionStep.FindStringSubmatch(text); m != nil {
		switch {
		case m[2] == ">":
			return r.send(m[1], m[3])
		case m[2] == "<":
			return r.expect(m[1], m[3])
		case m[3] == "connect":
			_, err := r.dial(m[1])
			return err
		case m[3] == "accept":
			return r.accept(m[1])
		}
		return fmt.Errorf("a connection can connect or accept, not %q", m[3])
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "$":
		_, err := r.shell(rest)
		return err
	case "let":
		name, command, _ := strings.Cut(rest, " ")
		out, err := r.shell(command)
		r.vars[name] = strings.TrimSuffix(out, "\n")
		return err
	case "start":
		return r.start()
	case "signal":
		return r.agent.Process.Signal(unix.SignalNum("SIG" + rest))
	case "exit":
		return r.exit(rest)
	case "wait":
		return r.poll(func() error { return r.step(rest) })
	case "alive", "gone":
		pid, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		if alive(pid) != (word == "alive") {
			return fmt.Errorf("process %d is not %s", pid, word)
		}
		return nil
	case "serving":
		if r.agentGone() {
			return errExited
		}
		return nil
	case "clock":
		return r.clockStep(rest)
	case "stdout", "stderr":
		return r.printed(word, rest)
	case "file":
		return r.file(rest)
	case "dir":
		return r.directory(rest)
	case "xattr":
		tokens, err := scan(rest)
		if err != nil || len(tokens) != 3 {
			return fmt.Errorf("xattr FILE NAME VALUE: %v", err)
		}
		return unix.Setxattr(r.path(tokens[0].text), tokens[1].text, []byte(tokens[2].text), 0)
	case "fifo":
		return r.fifo(rest)
	case "host":
		return r.hostStep(rest)
	case "peer":
		return r.peerStep(rest)
	case "inject":
		return r.inject(rest)
	case "peak", "descriptors":
		return r.measure(word, rest)
	}
	return fmt.Errorf("no step begins with %q", word)
}
