package modeltest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"wick/framing/wiretest"
)

// command is the command of an exec or spawn_watch, and its expected result.
type command struct {
	text    string
	timeout int // ms
	long    bool
	env     []string

	code           int32
	stdout, stderr []byte // the expected output
	anyStderr      bool   // stderr may have any text, but must have one
	cut            bool   // its timeout ends it, perhaps before its output
	refused        bool   // it cannot be started
	held           bool   // it runs until the hosts are done
	late           bool   // a background process does, and writes more then
}

// mayBeTardy reports whether the command cannot be started, and the agent may answer before it
// knows that: it waits only so long for the execve. Its failure is a process_exit then.
func (c *command) mayBeTardy() bool { return c.refused && len(c.text) >= 128<<10 }

// yes returns the output of "yes word | head -c n".
func yes(word string, n int) []byte {
	return bytes.Repeat([]byte(word+"\n"), n/(len(word)+1)+1)[:n]
}

// command makes a random command. Any stdout begins with the line token, which identifies its
// process_exit. watched is true for a spawn_watch.
func (h *host) command(token string, watched bool) command {
	r, s := h.r, h.m.scale
	code := r.IntN(256)
	c := command{code: int32(code), long: r.IntN(3) == 0, stdout: []byte(token + "\n")}
	if r.IntN(4) == 0 {
		c.timeout = 600_000
	}
	kind := r.IntN(20)
	if watched && r.IntN(6) == 0 {
		kind = 99
	}
	switch kind {
	default:
		c.text = fmt.Sprintf("echo %s; echo e%s >&2; exit %d", token, token, code)
		c.stderr = []byte("e" + token + "\n")
	case 4, 5, 6:
		n, m := someSize(r, s.output), someSize(r, s.output)
		if s.huge && r.IntN(40) == 0 {
			n, m = r.IntN(20<<20), r.IntN(20<<20)
		}
		c.text = fmt.Sprintf("echo %s; yes o%s | head -c %d; yes e%s | head -c %d >&2; exit %d", token, token, n, token, m, code)
		c.stdout = append(c.stdout, yes("o"+token, n)...)
		c.stderr = yes("e"+token, m)
	case 7:
		signal := []int{1, 2, 9, 15}[r.IntN(4)]
		c.text = fmt.Sprintf("echo %s; kill -%d $$; sleep 1000", token, signal)
		c.code = int32(128 + signal)
	case 8, 9:
		sleeps := []string{
			"sleep 1000", `trap "" TERM HUP INT; sleep 1000; sleep 1000`, "sleep 1000 & sleep 1000 & wait",
			"setsid sleep 1000 & sleep 1000", "(sleep 1000 & sleep 1000) & (setsid sh -c 'sleep 1000; sleep 1000') & sleep 1000",
		}
		c.text = fmt.Sprintf("echo %s; %s", token, sleeps[r.IntN(len(sleeps))])
		c.timeout = 1 + r.IntN(s.timeout)
		c.code, c.cut = 124, true
	case 10:
		// Print the token first, because a command of a lost connection may start while the hold is
		// being released.
		c.text = fmt.Sprintf("echo %s; (read x <%s/hold; echo late; echo late >&2) & exit %d", token, h.m.dir, code)
		if c.late = h.m.mayHold(); !c.late {
			c.text = fmt.Sprintf("echo %s; exit %d", token, code)
		}
	case 11:
		c.text = fmt.Sprintf("echo %s; cat; exit %d", token, code)
	case 12, 13:
		value := token + "\n" + strings.ReplaceAll(string(noise(r, someSize(r, 3000))), "\x00", "")
		c.env = []string{"MODEL_A", "not this", "MODEL_B", "x", "MODEL_A", value}
		c.long = true
		c.text = fmt.Sprintf(`printf %%s "$MODEL_A"; exit %d`, code)
		c.stdout = []byte(value)
	case 14:
		c.text = fmt.Sprintf("echo %s; : %s; exit %d", token, strings.Repeat("x", someSize(r, 120<<10)), code)
	case 15:
		c.text = "echo " + token + "; : " + strings.Repeat("y", 128<<10+someSize(r, 600<<10))
		c.code, c.stdout, c.anyStderr, c.refused = 126, nil, true, true
	case 16:
		c.text = fmt.Sprintf("echo %s; sleep 0.%d; echo again; exit %d", token, r.IntN(30), code)
		c.stdout = append(c.stdout, "again\n"...)
	case 17:
		c.text = fmt.Sprintf("echo %s; exec >&- 2>&-; sleep 0.0%d; exit %d", token, r.IntN(10), code)
	case 18:
		c.text = fmt.Sprintf("echo %s; /nonexistent/program", token)
		c.code, c.anyStderr = 127, true
	case 99:
		c.text = fmt.Sprintf("echo %s; read x <%s/hold; exit %d", token, h.m.dir, code)
		if c.held = h.m.mayHold(); !c.held {
			c.text = fmt.Sprintf("echo %s; exit %d", token, code)
		}
	}
	return c
}

func (c *command) payload() []byte {
	return execPayload(c.timeout, c.text, c.long || len(c.env) > 0, c.env)
}

// maxNotice limits the bytes of the lines that the agent adds to stderr.
const maxNotice = 256

// check compares a result with what the command does. released says that the result may have come
// after the waiting processes were released.
func (c *command) check(r result, released bool) error {
	if r.code != c.code {
		return fmt.Errorf("%s: %v, want code %d", wiretest.Brief([]byte(c.text)), r, c.code)
	}
	stdout, stderr := c.stdout, c.stderr
	if c.cut {
		last := bytes.TrimSuffix(r.stderr, []byte("\n"))
		if !bytes.HasPrefix(stdout, r.stdout) || string(last) != "Timeout" {
			return fmt.Errorf("%s: %v, want a timeout and at most stdout %s", c.text, r, wiretest.Brief(stdout))
		}
		return nil
	}
	if len(stdout)+len(stderr) > wiretest.MaxLength-1000 {
		return c.checkCut(r)
	}
	if c.anyStderr {
		if len(r.stderr) == 0 {
			return fmt.Errorf("%s: no reason given", wiretest.Brief([]byte(c.text)))
		}
		stderr = r.stderr
	}
	if c.late && released {
		r.stdout = bytes.TrimSuffix(r.stdout, []byte("late\n"))
		r.stderr = bytes.TrimSuffix(r.stderr, []byte("late\n"))
	}
	if !bytes.Equal(r.stdout, stdout) || !bytes.Equal(r.stderr, stderr) {
		return fmt.Errorf("%s: %v, want stdout %s, stderr %s", wiretest.Brief([]byte(c.text)), r,
			wiretest.Brief(stdout), wiretest.Brief(stderr))
	}
	return nil
}

// checkCut checks a result with output that does not fit into a frame.
func (c *command) checkCut(r result) error {
	const mark = "[output truncated: "
	at := bytes.LastIndex(r.stderr, []byte(mark))
	var lostOut, lostErr int
	if at >= 0 {
		fmt.Sscanf(string(r.stderr[at+len(mark):]), "%d bytes of stdout, %d bytes of stderr dropped]", &lostOut, &lostErr)
	}
	if at < 0 || len(r.stdout)+lostOut != len(c.stdout) || !bytes.HasPrefix(c.stdout, r.stdout) {
		return fmt.Errorf("%s: %v, want all of %d bytes of stdout or a notice", c.text, r, len(c.stdout))
	}
	kept := len(c.stderr) - lostErr
	if kept < 0 || at < kept || at > kept+1 || !bytes.Equal(c.stderr[:kept], r.stderr[:kept]) || lostErr > 0 && kept < 1<<20 {
		return fmt.Errorf("%s: %v, of %d bytes of stderr %d are said to be dropped", c.text, r, len(c.stderr), lostErr)
	}
	if size := len(r.stdout) + len(r.stderr); size < wiretest.MaxLength-1000-maxNotice {
		return fmt.Errorf("%s: %d bytes where there was room for more", c.text, size)
	}
	return nil
}

// exec makes an exec of a random command.
func (h *host) exec() *request {
	seq := h.seq()
	c := h.command(h.m.token(), false)
	return &request{what: "exec", seq: seq, frame: wiretest.Raw(wiretest.Exec, seq, c.payload()),
		check: func(typ byte, payload []byte) error {
			if typ == wiretest.Error && h.m.crowded(payload) {
				return nil
			}
			if typ != wiretest.ExecResult {
				return fmt.Errorf("type 0x%02X %s, want an exec_result", typ, wiretest.Brief(payload))
			}
			r, err := parseResult(typ, payload)
			if err != nil {
				return err
			}
			return c.check(r, false)
		}, lost: h.m.ranOn}
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
