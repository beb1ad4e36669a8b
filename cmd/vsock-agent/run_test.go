package main_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A run is one case under way: its agent, its directory, its connections.
type run struct {
	t      *testing.T
	c      *conformanceCase
	binary string
	marker string // an entry in the environment of everything the case starts
	dir    string
	vars   map[string]string

	agent   *exec.Cmd
	exited  chan struct{} // closed when the agent has exited
	stdout  output
	stderr  output
	conns   map[string]*connection
	host    *hostSocket
	fifos   map[string]int
	started time.Time
	clock   time.Time
	marks   map[string]int
}

// output collects what the agent prints.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

type connection struct {
	*net.UnixConn
	r       *bufio.Reader
	holding bool
	held    []byte
	rest    []byte
	flooded int
}

// hostSocket is a socket of the host's own at a path, bound and perhaps listening. It is made by hand, because
// net.Listen cannot stop between bind and listen.
type hostSocket struct {
	fd   int
	path string
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// expand replaces ${NAME} by the variables of the case and leaves every other $ to the shell.
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

// shell runs a command of the host's in the case's directory.
func (r *run) shell(command string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = r.dir
	cmd.Env = append(r.environment(), "DIR="+r.dir, "SOCK="+r.vars["SOCK"], "AGENT="+r.vars["AGENT"])
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A process that the command leaves behind holds the pipe: it must not hold the case.
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		return "", err
	}
	timer := time.AfterFunc(r.c.deadline, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	timer.Stop()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
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
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	// Of its own, so that no signal for the test's group reaches it or the other way round.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 500 * time.Millisecond
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

// end stops everything the case started: the agent, and by the marker in their environment all processes that
// it or the host's commands left.
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

// alive is false for a zombie too: who reaps the orphans of a test is no concern of the agent.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && i+2 < len(stat) && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// poll tries until it succeeds or the case's deadline passes, and then returns the last error. What is waited for
// (a file, a process, a listening socket) gives no event to wait on from outside.
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

// unreadFrames reports what came on the connections and was not expected: often it is what was missed elsewhere.
func (r *run) unreadFrames() string {
	var text string
	for name, c := range r.conns {
		for range 5 {
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.r.Peek(9); err != nil {
				break
			}
			got, err := r.receive(c)
			if err != nil {
				break
			}
			text += fmt.Sprintf("\n unread: %s< %s", name, got)
		}
	}
	return text
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

func (r *run) dial(name string) (*connection, error) {
	var conn net.Conn
	err := r.poll(func() (err error) {
		if r.agentGone() {
			return errExited
		}
		conn, err = net.Dial("unix", r.vars["SOCK"])
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &connection{UnixConn: conn.(*net.UnixConn), r: bufio.NewReaderSize(conn, 64<<10)}
	r.conns[name] = c
	return c, nil
}

// connection returns the named connection. One that a case uses without having opened it is opened, and its ready taken.
func (r *run) connection(name string) (*connection, error) {
	if c := r.conns[name]; c != nil {
		return c, nil
	}
	c, err := r.dial(name)
	if err != nil {
		return nil, err
	}
	got, err := r.receive(c)
	if err != nil {
		return nil, fmt.Errorf("waiting for the first ready: %w", err)
	}
	if got.String() != "ready seq=0" {
		return nil, fmt.Errorf("want ready seq=0\n got %s", got)
	}
	return c, nil
}

func (r *run) receive(c *connection) (*received, error) {
	c.SetReadDeadline(time.Now().Add(r.c.deadline))
	var head [9]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 5 || n > 16<<20 {
		return nil, fmt.Errorf("the agent sent the length %d", n)
	}
	payload := make([]byte, n-5)
	if k, err := io.ReadFull(c.r, payload); err != nil {
		return nil, fmt.Errorf("after %d of %d payload bytes of a frame of type 0x%02X: %w", k, n-5, head[4], err)
	}
	return decodeFrame(head[:], payload)
}

func (r *run) write(c *connection, b []byte) error {
	if c.holding {
		c.held = append(c.held, b...)
		return nil
	}
	c.SetWriteDeadline(time.Now().Add(r.c.deadline))
	_, err := c.Write(b)
	return err
}

// unread is how many bytes written to c the agent has not read yet. (The kernel counts more than the bytes; only 0 is exact.)
func (c *connection) unread() (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil {
		return 0, cerr
	}
	return n, err
}

func (r *run) consumed(c *connection) error {
	return r.poll(func() error {
		n, err := c.unread()
		if err == nil && n > 0 {
			err = errors.New("the agent does not read what was sent")
		}
		return err
	})
}

func (r *run) frame(text string) ([]byte, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	s := &scanner{tokens}
	name := s.next()
	fs, err := s.fields()
	if err != nil {
		return nil, err
	}
	return encodeFrame(name.text, fs)
}

// send is a step NAME> …
func (r *run) send(name, text string) error {
	c, err := r.connection(name)
	if err != nil {
		return err
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "half-close":
		return c.CloseWrite()
	case "close":
		delete(r.conns, name)
		// A process that is just being forked for another case has a copy of the descriptor until it has gone through exec,
		// and the agent would see the end that much later. A shutdown ends the copies too.
		c.CloseWrite()
		c.CloseRead()
		return c.Close()
	case "readable":
		c.SetReadDeadline(time.Now().Add(r.c.deadline))
		_, err := c.r.Peek(1)
		return err
	case "reset":
		// A Unix socket that is closed with unread bytes gives the other side ECONNRESET. Unlike close, this may take effect
		// a moment later, for it allows no shutdown.
		c.SetReadDeadline(time.Now().Add(r.c.deadline))
		if _, err := c.r.Peek(1); err != nil {
			return fmt.Errorf("reset needs a frame that nobody read: %w", err)
		}
		delete(r.conns, name)
		return c.Close()
	case "hold":
		c.holding = true
		return nil
	case "flush":
		c.holding = false
		b := c.held
		c.held = nil
		return r.write(c, b)
	case "consumed":
		return r.consumed(c)
	case "rest":
		return r.write(c, c.rest)
	case "bytes":
		b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			return err
		}
		return r.write(c, b)
	case "flood":
		return r.flood(c, rest)
	}
	slowly := false
	first := -1
	if word == "slowly" {
		slowly, text = true, rest
	} else if word == "first" {
		if _, err := fmt.Sscanf(rest, "%d of", &first); err != nil {
			return fmt.Errorf("first N of FRAME: %w", err)
		}
		_, text, _ = strings.Cut(rest, " of ")
	}
	var all []byte
	for _, line := range unroll(text) {
		b, err := r.frame(line)
		if err != nil {
			return err
		}
		all = append(all, b...)
	}
	switch {
	case slowly:
		for i := range all {
			if err := r.write(c, all[i:i+1]); err != nil {
				return err
			}
			if err := r.consumed(c); err != nil {
				return fmt.Errorf("at byte %d: %w", i, err)
			}
		}
		return nil
	case first >= 0:
		if first > len(all) {
			return fmt.Errorf("the frame has %d bytes only", len(all))
		}
		c.rest = all[first:]
		all = all[:first]
	}
	return r.write(c, all)
}

// flood writes a frame again and again until the agent has stopped reading. That it has stopped can only be known by its
// not going on, so this waits half a second of stillness; an agent that is merely slow is flooded longer.
func (r *run) flood(c *connection, text string) error {
	frame, err := r.frame(text)
	if err != nil {
		return err
	}
	const enough = 256 << 20
	sent := 0
	for sent < enough {
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Write(frame)
		sent += n
		if err == nil {
			c.flooded++
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if n > 0 {
			// Half a frame is out: the rest of it goes out once the agent reads again.
			c.rest = frame[n:]
			c.flooded++
		}
		return nil
	}
	return fmt.Errorf("the agent has read %d bytes from a host that does not read", sent)
}

// expect is a step NAME< …
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
	for _, line := range unroll(text) {
		if err := r.expectFrame(c, line); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) expectFrame(c *connection, want string) error {
	got, err := r.receive(c)
	if err != nil {
		return fmt.Errorf("want %s\n got %w", want, err)
	}
	return r.matches(got, want)
}

// anyOrder takes as many frames as there are lines and finds each its line.
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
				last = fmt.Errorf("want any of\n%s< %s\n got %s", name, strings.Join(open[:min(len(open), 10)], "\n"+name+"< "), got)
			}
			return last
		}
	}
	return nil
}

var noticePattern = regexp.MustCompile(`\[output truncated: (\d+) bytes of stdout, (\d+) bytes of stderr dropped\]\n?(?:Timeout\n?)?$`)

// matches compares a frame with a line: its name, its seq (0 if the line has none), and the fields that the line names.
// Nothing is captured unless all of it matches.
func (r *run) matches(got *received, want string) error {
	tokens, err := scan(r.expand(want))
	if err != nil {
		return err
	}
	s := &scanner{tokens}
	name := s.next().text
	fs, err := s.fields()
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
			// What was kept and what the notice says was dropped, together.
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

var connectionStep = regexp.MustCompile(`^([A-Z]?)([<>]|:) (.*)$`)

// step does one line, which is expanded already, except for what a frame captures meanwhile.
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
	case "peak", "descriptors":
		return r.measure(word, rest)
	}
	return fmt.Errorf("no step begins with %q", word)
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

// exit N [within DURATION]
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

// printed: mark | same | lines = N | OP value
func (r *run) printed(which, rest string) error {
	o := &r.stdout
	if which == "stderr" {
		o = &r.stderr
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

func (r *run) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.dir, p)
}

// file PATH = value | missing | mode 0644 | owner 1:2 | links 1 | len N | is TYPE | xattr NAME = value
func (r *run) file(rest string) error {
	tokens, err := scan(rest)
	if err != nil {
		return err
	}
	s := &scanner{tokens}
	path := r.path(s.next().text)
	var st unix.Stat_t
	err = unix.Lstat(path, &st)
	if s.is('w', "missing") {
		if err == nil {
			return fmt.Errorf("%s exists", path)
		}
		if err != unix.ENOENT {
			return err
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	differs := func(what string, got, want any) error {
		if got == want {
			return nil
		}
		return fmt.Errorf("%s: %s is %v, not %v", path, what, got, want)
	}
	if s.is('o', "") {
		f := field{name: path, op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := compare(f, got); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	switch what, value := s.next().text, s.next().text; what {
	case "mode":
		return differs(what, fmt.Sprintf("%04o", st.Mode&0o7777), value)
	case "owner":
		return differs(what, fmt.Sprintf("%d:%d", st.Uid, st.Gid), value)
	case "links":
		return differs(what, fmt.Sprint(st.Nlink), value)
	case "len":
		return differs(what, fmt.Sprint(st.Size), value)
	case "is":
		types := map[uint32]string{unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symlink",
			unix.S_IFSOCK: "socket", unix.S_IFIFO: "fifo", unix.S_IFCHR: "device"}
		return differs("the type", types[st.Mode&unix.S_IFMT], value)
	case "xattr":
		b := make([]byte, 256)
		n, err := unix.Getxattr(path, value, b)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, value, err)
		}
		f := field{name: value, op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		return compare(f, b[:n])
	default:
		return fmt.Errorf("file has no %q", what)
	}
}

// dir PATH = name name …: exactly these, and nothing beside them.
func (r *run) directory(rest string) error {
	tokens, err := scan(rest)
	if err != nil || len(tokens) < 2 {
		return fmt.Errorf("dir PATH = NAME …: %v", err)
	}
	entries, err := os.ReadDir(r.path(tokens[0].text))
	if err != nil {
		return err
	}
	var want, got []string
	for _, t := range tokens[2:] {
		want = append(want, t.text)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	sort.Strings(want)
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("%s has %q, not %q", tokens[0].text, got, want)
	}
	return nil
}

// fifo hold PATH keeps a FIFO open both ways; fifo read PATH = value; fifo release PATH.
func (r *run) fifo(rest string) error {
	tokens, err := scan(rest)
	if err != nil || len(tokens) < 2 {
		return fmt.Errorf("fifo hold|read|release PATH: %v", err)
	}
	path := r.path(tokens[1].text)
	switch tokens[0].text {
	case "hold":
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.fifos[path] = fd
		return nil
	case "release":
		fd := r.fifos[path]
		delete(r.fifos, path)
		return unix.Close(fd)
	case "read":
		s := &scanner{tokens[2:]}
		f := field{op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		got := []byte{}
		b := make([]byte, 64<<10)
		err := r.poll(func() error {
			n, err := unix.Read(r.fifos[path], b)
			if n > 0 {
				got = append(got, b[:n]...)
				err = nil
			}
			if err == nil && len(got) < len(f.value) {
				err = fmt.Errorf("only %d of %d bytes came", len(got), len(f.value))
			}
			return err
		})
		if err != nil {
			return err
		}
		return compare(f, got)
	}
	return fmt.Errorf("fifo has no %q", tokens[0].text)
}

// host bind|listen [PATH] | close
func (r *run) hostStep(rest string) error {
	word, path, _ := strings.Cut(rest, " ")
	if path == "" {
		path = r.vars["SOCK"]
	}
	switch word {
	case "bind", "listen":
		if r.host == nil || word == "bind" {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				unix.Close(fd)
				return fmt.Errorf("bind %s: %w", path, err)
			}
			r.host = &hostSocket{fd, path}
		}
		if word == "listen" {
			return unix.Listen(r.host.fd, 16)
		}
		return nil
	case "close":
		fd := r.host.fd
		r.host = nil
		// As a connection: no copy of it may go on listening.
		unix.Shutdown(fd, unix.SHUT_RDWR)
		return unix.Close(fd)
	case "pause":
		// The one bare wait of the language: for the time between bind and listen, which is what some cases are about.
		d, err := time.ParseDuration(path)
		time.Sleep(d)
		return err
	}
	return fmt.Errorf("host has no %q", word)
}

// accept takes the next connection that the agent makes to the host's socket.
func (r *run) accept(name string) error {
	timeout := unix.NsecToTimeval(int64(r.c.deadline))
	if err := unix.SetsockoptTimeval(r.host.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	var fd int
	for {
		var err error
		if fd, _, err = unix.Accept4(r.host.fd, unix.SOCK_CLOEXEC); err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("no connection from the agent: %w", err)
		}
		break
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	r.conns[name] = &connection{UnixConn: conn.(*net.UnixConn), r: bufio.NewReaderSize(conn, 64<<10)}
	return nil
}

// measure: peak mark | peak grew < N (KiB) | descriptors mark | descriptors same
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

// play does all steps; the error names the line.
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
