package modeltest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// proc is a process that a start asks for, and its expected result.
type proc struct {
	id   uint64
	host int // number of the host that started it
	line string

	flags              byte
	timeout, keep      int // ms
	cap, rows, columns int
	user, dir          string
	args, env          []string
	limits             [][3]uint64
	input              []byte
	needs              int // bytes of stdout to wait for before the host sends input or a signal
	size               [2]int
	kills              bool // the host sends the signal, with the scope
	scope              byte
	unwantedAt         int // bytes of stdout after which the host closes it; 0 for never
	held               bool
	reason, signal     byte
	stage              byte
	code               int32
	errno              unix.Errno
	want               [2]text
	partly             bool // its input and output end at an unpredictable offset
	late               bool // a background process writes more when the hold is released
	left               int

	// The mu of the connection that has the process guards the fields below.
	pid       int
	got       [2]int
	taken     int  // least bytes of stdin that the agent has taken
	offered   int  // end of the stdin that was sent on any connection
	counted   bool // counted among those that the agent may know
	confirmed bool
	released  bool // a release was sent
	loose     bool // an unanswered attach of a lost connection may still steal it
	unwanted  bool // the host closed stdout
	lostAt    time.Time
	lostFully bool // the agent knew of the loss before the host did
}

// These are the reasons of an exited.
const (
	byExit byte = iota
	bySignal
	byTimeout
	byCancel
	byMemory
	byFailure
)

// These are the stages at which a start fails.
const (
	_ byte = iota
	atResources
	atTerminal
	atUser
	atDirectory
	atLimits
	atFork
	atExec
)

var lastProc atomic.Uint64

// someKeep returns a random time in ms for which a process is kept.
func (h *host) someKeep() int {
	switch h.r.IntN(10) {
	case 0:
		return 1 + h.r.IntN(300)
	case 1, 2:
		return 60_000
	case 3, 4, 5:
		return keepForever
	}
	return 0
}

// proc makes a random process. Its stdout begins with a unique line.
func (h *host) proc() *proc {
	r, s := h.r, h.m.scale
	token := h.m.token()
	p := &proc{id: lastProc.Add(1)<<8 | 0x5e, host: h.n, line: token + "\n", flags: fShell,
		keep: h.someKeep(), code: int32(r.IntN(256))}
	if h.m.keptMost.Load() >= mayKeep && p.keep != 0 {
		p.keep = 0
	}
	if r.IntN(4) == 0 {
		p.timeout = 600_000
	}
	p.want[0] = textOf([]byte(p.line))
	say := "echo " + token + "; "
	exit := fmt.Sprintf("exit %d", p.code)
	kind := r.IntN(26)
	switch kind {
	default:
		p.shell(say + "echo e" + token + " >&2; " + exit)
		p.want[1] = textOf([]byte("e" + p.line))
	case 3, 4, 5:
		n, m := someSize(r, s.output), someSize(r, s.output)
		if s.huge && r.IntN(20) == 0 {
			n, m = r.IntN(20<<20), r.IntN(4<<20)
		}
		p.shell(fmt.Sprintf("%syes o%s | head -c %d; yes e%[2]s | head -c %[4]d >&2; %[5]s", say, token, n, m, exit))
		p.want = [2]text{yesText(p.line, "o"+token, n), yesText("", "e"+token, m)}
		if r.IntN(4) == 0 {
			p.cap = 1 + someSize(r, 2*s.output)
		}
	case 6:
		n, m := someSize(r, s.output), someSize(r, s.output)
		p.shell(fmt.Sprintf("%syes e%s | head -c %d >&2 & yes o%[2]s | head -c %[4]d; wait; %[5]s", say, token, m, n, exit))
		p.want = [2]text{yesText(p.line, "o"+token, n), yesText("", "e"+token, m)}
	case 7, 8, 9:
		p.input = noise(r, someSize(r, s.output))
		p.flags |= fStdin
		p.shell(say + "cat; " + exit)
		p.want[0] = textOf(append([]byte(p.line), p.input...))
		if r.IntN(3) == 0 {
			p.flags, p.args, p.code = fStdin, []string{"cat"}, 0
			p.want[0] = textOf(p.input)
		}
	case 10:
		p.input = noise(r, someSize(r, s.output))
		n := r.IntN(len(p.input) + 1)
		p.flags |= fStdin
		p.shell(fmt.Sprintf("%shead -c %d; %s", say, n, exit))
		p.want[0] = textOf(append([]byte(p.line), p.input[:n]...))
	case 11, 12:
		signals := []byte{1, 2, 9, 10, 15}
		p.signal, p.scope, p.kills, p.partly = signals[r.IntN(len(signals))], byte(r.IntN(3)), true, true
		p.needs, p.reason, p.code = len(p.line), bySignal, 128+int32(p.signal)
		if p.signal == 9 && p.scope == 2 {
			p.reason = byCancel
		}
		p.shell(say + "exec sleep 1000")
	case 13:
		p.signal, p.scope, p.kills = 15, 1, true
		p.needs = len(p.line)
		p.shell("trap '" + exit + "' TERM; " + say + "while :; do sleep 0.02; done")
		p.left = -1
	case 14:
		sleeps := []string{"sleep 1000", `trap "" TERM HUP INT; sleep 1000; sleep 1000`,
			"sleep 1000 & sleep 1000 & wait", "setsid sleep 1000 & sleep 1000"}
		p.shell(say + sleeps[r.IntN(len(sleeps))])
		p.timeout = 1 + r.IntN(s.timeout)
		p.reason, p.code, p.signal, p.partly = byTimeout, 124, 9, true
	case 15:
		p.signal, p.reason = []byte{1, 2, 9, 15}[r.IntN(4)], bySignal
		p.code = 128 + int32(p.signal)
		p.shell(fmt.Sprintf("%skill -%d $$; sleep 1000", say, p.signal))
	case 16:
		p.flags |= fMerge
		p.shell(say + "echo two >&2; echo three; echo four >&2; " + exit)
		p.want[0] = textOf([]byte(p.line + "two\nthree\nfour\n"))
	case 17:
		p.flags, p.code = fOnly, 0
		value := token + strings.ReplaceAll(string(noise(r, someSize(r, 3000))), "\x00", "")
		p.args = []string{"/bin/sh", "-c", `printf %s "$0$MODEL_A$1"; printf %s "$MODEL_B" >&2; pwd -P >&2`, "<", value}
		p.env = []string{"MODEL_B", value, "MODEL_A", "="}
		p.dir = h.m.dir
		p.want = [2]text{textOf([]byte("<=" + value)), textOf([]byte(value + h.m.dir + "\n"))}
	case 18:
		p.limits = [][3]uint64{{unix.RLIMIT_NOFILE, 17, 19}, {unix.RLIMIT_CORE, 0, 0}}
		p.shell(say + "ulimit -n; " + exit)
		p.want[0] = textOf([]byte(p.line + "17\n"))
	case 19:
		if h.m.root {
			p.user = "54321:12345"
			p.shell(say + "id -u; id -g; " + exit)
			p.want[0] = textOf([]byte(p.line + "54321\n12345\n"))
		} else {
			p.shell(say + exit)
		}
	case 20, 21:
		h.terminal(p, say, exit)
	case 22:
		h.failing(p)
	case 23:
		if h.m.mayHold() {
			p.left, p.late = 1, true
			p.shell(fmt.Sprintf("%s(read x <%s/hold; echo late; echo late >&2) & %s", say, h.m.dir, exit))
		} else {
			p.shell(say + exit)
		}
	case 24:
		n := someSize(r, s.output)
		p.shell(say + exit)
		if h.m.mayHold() {
			p.held = true
			p.shell(fmt.Sprintf("%sread x <%s/hold; yes o%s | head -c %d; %s", say, h.m.dir, token, n, exit))
			p.want[0] = yesText(p.line, "o"+token, n)
			if r.IntN(2) == 0 {
				// Send more than the pipe takes. Some of it waits in the agent, and is lost with a
				// connection.
				p.input = noise(r, 60<<10+r.IntN(40<<10))
				p.flags |= fStdin
				p.shell(fmt.Sprintf("%sread x <%s/hold; cat; %s", say, h.m.dir, exit))
				p.want[0] = textOf(append([]byte(p.line), p.input...))
			}
		}
	case 25:
		p.shell("exec yes " + token)
		p.want[0] = yesText("", token, 1<<40)
		p.unwantedAt = 1 + someSize(r, s.output)
		p.reason, p.signal, p.code, p.partly = bySignal, 13, 141, true
	}
	return p
}

func (p *proc) shell(command string) { p.args = []string{command} }

// terminal gives the process a terminal, and a command that makes the terminal raw. A raw terminal
// passes on every byte unchanged.
func (h *host) terminal(p *proc, say, exit string) {
	r := h.r
	p.flags |= fTerminal | fStdin
	// Use at least 2, because busybox's stty prints 24 and 80 for a terminal with one row or one
	// column.
	p.rows, p.columns = 2+r.IntN(100), 2+r.IntN(300)
	p.needs = len(p.line)
	if r.IntN(2) == 0 {
		p.input = noise(r, someSize(r, min(h.m.scale.output, 50<<10)))
		p.shell(fmt.Sprintf("stty raw -echo; %shead -c %d; %s", say, len(p.input), exit))
		p.want[0] = textOf(append([]byte(p.line), p.input...))
		return
	}
	p.input = []byte("x")
	p.size = [2]int{2 + r.IntN(100), 2 + r.IntN(300)}
	p.shell(fmt.Sprintf("stty raw -echo; stty size; %shead -c 1; stty size; %s", say, exit))
	p.want[0] = textOf(fmt.Appendf(nil, "%d %d\n%sx%d %d\n", p.rows, p.columns, p.line, p.size[0], p.size[1]))
	p.needs = p.want[0].size - len(fmt.Sprintf("x%d %d\n", p.size[0], p.size[1]))
}

// failing gives the process a request with which it cannot be started.
func (h *host) failing(p *proc) {
	p.want[0] = text{}
	p.flags, p.reason, p.code, p.timeout = 0, byFailure, 126, 0
	evil := []string{"sh", "-c", "echo evil >" + h.m.dir + "/evil"}
	p.args = evil
	fail := func(stage byte, errno unix.Errno) { p.stage, p.errno = stage, errno }
	switch h.r.IntN(9) {
	case 0:
		p.args, p.code = []string{"no-such-program", "x"}, 127
		fail(atExec, unix.ENOENT)
	case 1:
		p.args, p.code = []string{h.m.dir + "/no/such/program"}, 127
		fail(atExec, unix.ENOENT)
	case 2:
		p.args = []string{h.m.dir}
		fail(atExec, unix.EACCES)
	case 3:
		p.user = "no-such-user"
		fail(atUser, unix.ENOENT)
	case 4:
		p.dir = h.m.dir + "/no-such-directory"
		fail(atDirectory, unix.ENOENT)
	case 5:
		p.dir = h.m.dir + "/plain"
		fail(atDirectory, unix.ENOTDIR)
	case 6:
		p.limits = [][3]uint64{{99, 1, 1}}
		fail(atLimits, unix.EINVAL)
	case 7:
		p.limits = [][3]uint64{{unix.RLIMIT_NOFILE, 20, 10}}
		fail(atLimits, unix.EINVAL)
	case 8:
		p.args = append(p.args, strings.Repeat("x", 128<<10+someSize(h.r, 300<<10)))
		fail(atExec, unix.E2BIG)
	}
}

// judge checks the receipt against what the process does.
func (p *proc) judge(r receipt, releasing bool) error {
	wrong := func(what string, want any) error { return fmt.Errorf("%s: %s wrong, want %v: %v", p, what, want, r) }
	switch {
	case r.reason != p.reason:
		return wrong("reason", p.reason)
	case r.code != p.code:
		return wrong("code", p.code)
	case r.signal != p.signal && (p.reason == bySignal || p.reason == byCancel):
		return wrong("signal", p.signal)
	case r.stage != p.stage || r.errno != p.errno:
		return wrong("stage or errno", fmt.Sprint(p.stage, p.errno))
	case (r.message != "") != (p.reason == byFailure):
		return wrong("message", "one only if it was not started")
	case p.reason == byTimeout && r.elapsed < p.timeout*1000:
		return wrong("elapsed", p.timeout)
	case p.left >= 0 && r.left != p.left && (!releasing || r.left > p.left):
		return wrong("left", p.left)
	}
	for i, total := range r.total {
		due := p.want[i].size
		switch {
		case p.reason == byFailure:
			if total != 0 || r.dropped[i] != 0 {
				return wrong("output", "no bytes")
			}
			continue
		case p.unwanted && i == 0:
			continue
		case p.late && releasing && total == due+len(lateLine):
		case total != due && !p.partly, total > due:
			return wrong("bytes", due)
		}
		dropped := 0
		if p.cap > 0 {
			dropped = max(0, total-p.cap)
		}
		if r.dropped[i] != dropped {
			return wrong("dropped", dropped)
		}
		if p.got[i] != total-dropped {
			return wrong("bytes sent", p.got)
		}
	}
	return nil
}

const lateLine = "late\n"

// wrote reports whether the process writes b to output i at that offset.
func (p *proc) wrote(i, at int, b []byte) bool {
	if p.want[i].has(at, b) {
		return true
	}
	if t := p.want[i]; p.late && at+len(b) <= t.size+len(lateLine) {
		n := max(0, min(len(b), t.size-at))
		return (n == 0 || t.has(at, b[:n])) && lateLine[at+n-t.size:][:len(b)-n] == string(b[n:])
	}
	return false
}

func (p *proc) String() string {
	word := strings.Join(p.args, " ")
	return fmt.Sprintf("process %d (%s)", p.id>>8, wiretest.Brief([]byte(word)))
}
