package modeltest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// hello makes a hello. The later requests on the connection may use the extension.
func (h *host) hello(c *conn) *request {
	c.greeted = true
	seq := h.seq()
	version := 1 + h.r.IntN(3)
	return &request{what: "hello", seq: seq, frame: wiretest.Make(wiretest.Hello, seq, version),
		prompt: true, check: func(typ byte, payload []byte) error {
			const always = 1<<0 | 1<<1 | 1<<2 | 1<<3 // processes, terminals, files, stats
			in, err := wiretest.Parse(typ, payload)
			if err != nil || typ != wiretest.HelloResult {
				return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
			}
			features, facts := in.Int("features"), map[string]string{}
			for _, fact := range in.List("facts") {
				facts[fact.Text("name")] = fact.Text("value")
			}
			if in.Int("version") != 1 || features&always != always {
				return fmt.Errorf("version %d, features %b", in.Int("version"), features)
			}
			if facts["pid"] != h.m.target.pid() || facts["limit.kept"] != fmt.Sprint(maxKept) {
				return fmt.Errorf("facts %q", facts)
			}
			c.note(func() { c.features = features })
			return nil
		}}
}

// extended makes a random request of the extension.
func (h *host) extended(c *conn) *request {
	switch n := h.r.IntN(100); {
	case n < 24:
		return h.bind(c, h.proc(), false)
	case n < 26:
		return h.configure()
	case n < 27:
		return h.services()
	case n < 28:
		return h.kernelLog()
	case n < 30:
		return h.watchFiles()
	case n < 38:
		return h.forward(c)
	case n < 40:
		return h.unreachable()
	case n < 41:
		return h.ports(c)
	case n < 55:
		if p := h.m.adopt(h.n, h.r.IntN(100)); p != nil {
			return h.bind(c, p, true)
		}
		return h.bind(c, h.proc(), false)
	case n < 65:
		return h.readFile(c)
	case n < 70:
		return h.list(c)
	case n < 78:
		return h.writeFile(c)
	case n < 83:
		return h.script(c)
	case n < 86:
		return h.processes(&listed{})
	case n < 89:
		return h.stats()
	case n < 90:
		return h.hello(c)
	case n < 92:
		return h.pressure(c)
	case n < 94:
		return h.refused()
	case n < 97:
		return h.unknownChannel()
	default:
		return h.malformedExtension()
	}
}

func (h *host) stats() *request {
	seq := h.seq()
	return &request{what: "stats", seq: seq, frame: wiretest.Raw(wiretest.Stats, seq, nil),
		check: func(typ byte, payload []byte) error {
			in, err := wiretest.Parse(typ, payload)
			if err != nil || typ != wiretest.Figures {
				return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
			}
			figures := map[string]int{}
			for _, figure := range in.List("figures") {
				figures[figure.Text("name")] = figure.Int("value")
			}
			kept, conns := figures["agent.kept"], figures["agent.connections"]
			if figures["memory.total"] == 0 || figures["agent.rss"] == 0 || kept < 0 ||
				kept > maxKept || conns < 1 || conns > maxConns {
				return fmt.Errorf("figures %v", figures)
			}
			return nil
		}}
}

// refused makes a valid request that fails with a known errno.
func (h *host) refused() *request {
	dir := h.m.dir
	type refusal struct {
		typ     byte
		payload []byte
		errno   unix.Errno
	}
	all := []refusal{
		{wiretest.Signal, wiretest.Payload(wiretest.Signal, 1<<60, 0, 15, 0), unix.ESRCH},
		{wiretest.Signal, wiretest.Payload(wiretest.Signal, 0, 1<<30, 15, 1), unix.ESRCH},
		{wiretest.Signal, wiretest.Payload(wiretest.Signal, 1<<60, 0, 65, 0), unix.EINVAL},
		{wiretest.Signal, wiretest.Payload(wiretest.Signal, 1<<60, 0, 15, 3), unix.EINVAL},
		{wiretest.Attach, attachPayload(1<<60, [2]int{h.r.IntN(9), 0}, [2]int{1, 1}), unix.ESRCH},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, dir), unix.EISDIR},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, dir+"/hold"), unix.EINVAL},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, dir+"/none"), unix.ENOENT},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, ""), unix.ENOENT},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, dir+"/loop"), unix.ELOOP},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 1, 0, 0, 100, dir+"/loop"), unix.ELOOP},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 100, dir+"/plain/below"), unix.ENOTDIR},
		{wiretest.List, wiretest.Payload(wiretest.List, 0, 100, dir+"/plain"), unix.ENOTDIR},
		{wiretest.List, wiretest.Payload(wiretest.List, 0, 100, dir+"/none"), unix.ENOENT},
		{wiretest.Stat, wiretest.Payload(wiretest.Stat, 0, dir+"/none"), unix.ENOENT},
		{wiretest.Stat, wiretest.Payload(wiretest.Stat, 1, dir+"/loop"), unix.ELOOP},
		{wiretest.Stat, wiretest.Payload(wiretest.Stat, 0, ""), unix.ENOENT},
		{wiretest.Write, writePayload(0, 0, 7, dir+"/evil"), unix.EINVAL},
		{wiretest.Write, writePayload(wAppend, 0, 0, dir+"/evil"), unix.EINVAL},
		{wiretest.Write, writePayload(wInPlace|wAppend|wTruncate, 0, 0, dir+"/evil"), unix.EINVAL},
		{wiretest.Write, writePayload(wExclusive, 0, 0, dir+"/plain"), unix.EEXIST},
		{wiretest.Write, writePayload(0, 0, 0, dir+"/none/evil"), unix.ENOENT},
		{wiretest.Write, writePayload(0, 0, 0, dir+"/hold"), unix.EINVAL},
		{wiretest.Write, writePayload(wInPlace, 0, 0, dir), unix.EISDIR},
		{wiretest.Change, changePayload(99, 0, 0, dir+"/evil", ""), unix.EINVAL},
		{wiretest.Change, changePayload(opMkdir, 0, 0o755, dir+"/plain", ""), unix.EEXIST},
		{wiretest.Change, changePayload(opMkdir, 0, 0o755, dir+"/none/evil", ""), unix.ENOENT},
		{wiretest.Change, changePayload(opRemove, 0, 0, dir+"/none", ""), unix.ENOENT},
		{wiretest.Change, changePayload(opRename, 1<<3, 0, dir+"/plain", dir+"/hold"), unix.EEXIST},
		{wiretest.Change, changePayload(opSymlink, 0, 0, dir+"/plain", "x"), unix.EEXIST},
		{wiretest.Pressure, wiretest.Payload(wiretest.Pressure, 3, 1000, 1_000_000), unix.EINVAL},
	}
	all = append(all, refusal{wiretest.Look, wiretest.Payload(wiretest.Look, h.r.IntN(2), 1<<60, 0, 0, 9, 9), unix.ESRCH},
		refusal{wiretest.Watch, wiretest.Payload(wiretest.Watch, 0, 1<<16, dir+"/none", ""), unix.ENOENT})
	if h.m.target.pid() == "1" {
		all = append(all, refusal{wiretest.Thaw, nil, unix.EINVAL},
			refusal{wiretest.Mount, wiretest.Payload(wiretest.Mount, 0, "data:/srv"), unix.EINVAL},
			refusal{wiretest.Service, wiretest.Payload(wiretest.Service, 0, 0, "db"), unix.ENOENT})
	} else {
		all = append(all, refusal{wiretest.Thaw, nil, unix.EOPNOTSUPP},
			refusal{wiretest.Mount, wiretest.Payload(wiretest.Mount, 0, "data:/srv:tmpfs"), unix.EOPNOTSUPP},
			refusal{wiretest.Service, wiretest.Payload(wiretest.Service, 0, 0, "db"), unix.ENOSYS},
			refusal{wiretest.Power, wiretest.Payload(wiretest.Power, 1, 0), unix.EPERM})
	}
	q := all[h.r.IntN(len(all))]
	seq := h.seq()
	return &request{what: fmt.Sprintf("frame of type 0x%02X %s", q.typ, wiretest.Brief(q.payload)),
		seq: seq, frame: wiretest.Raw(q.typ, seq, q.payload), prompt: true,
		check: wantDone(q.errno)}
}

// unknownChannel makes a frame for a channel that does not exist. The agent must not answer it.
func (h *host) unknownChannel() *request {
	seq := h.seq()
	frames := [][]byte{
		wiretest.Raw(wiretest.Input, seq, noise(h.r, someSize(h.r, 200<<10))),
		wiretest.Make(wiretest.Credit, seq, byte(h.r.IntN(3)), 1<<20),
		wiretest.Make(wiretest.Close, seq, byte(h.r.IntN(3))),
		wiretest.Make(wiretest.Resize, seq, h.r.IntN(1<<4), h.r.IntN(1<<16)), wiretest.Raw(wiretest.Release, seq, nil),
	}
	return &request{what: "frame about no channel", seq: seq, frame: frames[h.r.IntN(len(frames))], silent: true}
}

// malformedExtension makes an invalid frame of the extension. If the agent carried it out, a file
// would show it.
func (h *host) malformedExtension() *request {
	seq, r := h.seq(), h.r
	evil := h.m.dir + "/evil"
	p := &proc{id: 1 << 59, flags: fShell, args: []string{"echo evil >" + evil},
		env: []string{"NAME", "value"}, limits: [][3]uint64{{7, 10, 10}}}
	all := []struct {
		typ     byte
		payload []byte
		flags   int // offset of the flags, or -1
		path    int // offset of a text, or -1
	}{
		{wiretest.Start, p.startPayload([2]int{9, 9}), 8, 8 + 1 + 4 + 4 + 4 + 4 + 8 + 2 + 2 + 2 + 2 + 4 + 4},
		{wiretest.Attach, attachPayload(1, [2]int{}, [2]int{}), -1, -1},
		{wiretest.Close, []byte{1}, -1, -1},
		{wiretest.Credit, wiretest.Payload(wiretest.Credit, 1, 9), -1, -1},
		{wiretest.Resize, wiretest.Payload(wiretest.Resize, 0, 9), -1, -1},
		{wiretest.Signal, wiretest.Payload(wiretest.Signal, 1, 1, 1, 1), -1, -1},
		{wiretest.Read, wiretest.Payload(wiretest.Read, 0, 0, 0, 9, evil), 0, 1 + 8 + 8 + 4 + 2},
		{wiretest.Write, writePayload(0, 0, 0, evil), 0, 2 + 4 + 4 + 4 + 8 + 2},
		{wiretest.Stat, wiretest.Payload(wiretest.Stat, 0, evil), 0, 1 + 2},
		{wiretest.List, wiretest.Payload(wiretest.List, 0, 9, evil), 0, 1 + 4 + 2},
		{wiretest.Change, changePayload(opMkdir, 0, 0o700, evil, "x"), 1, 1 + 1 + 4 + 4 + 4 + 8 + 2},
		{wiretest.Pressure, wiretest.Payload(wiretest.Pressure, 0, 1, 1), -1, -1},
		{wiretest.Freeze, wiretest.Payload(wiretest.Freeze, 1), -1, -1},
		{wiretest.Power, wiretest.Payload(wiretest.Power, 0, 1), -1, -1},
	}
	m := all[r.IntN(len(all))]
	b := m.payload
	switch kind := r.IntN(4); {
	case kind == 0 && m.flags >= 0:
		bit := 5 + r.IntN(3)
		switch m.typ {
		case wiretest.Start:
			bit = 5 + r.IntN(2) // more and confined, without what follows them; loose alone is valid
		case wiretest.List:
			bit = 7 // the only undefined flag
		}
		b[m.flags] |= 1 << bit
	case kind == 1 && m.path >= 0:
		b[m.path+r.IntN(len(evil))] = 0
	case kind == 2:
		b = append(b, make([]byte, 1+r.IntN(3))...)
		if r.IntN(4) == 0 {
			b = append(b, make([]byte, 300<<10)...)
			if m.typ == wiretest.Start {
				b = b[:m.path] // the agent does not parse one that is too long
			}
		}
	default:
		b = b[:r.IntN(len(b))]
	}
	if m.typ == wiretest.Freeze && len(b) == 5 {
		b[4] = 1 << 7 // the last byte is of flags, and would be valid as 0
	}
	if m.typ == wiretest.Start && r.IntN(4) == 0 {
		p.limits = nil
		switch r.IntN(4) {
		case 0:
			p.id = 0
		case 1:
			p.args = nil
		case 2:
			p.args = append(p.args, "more")
		case 3:
			p.env = []string{[]string{"", "A=B", "A\x00"}[r.IntN(3)], "value"}
		}
		b = p.startPayload([2]int{9, 9})
	}
	return &request{
		what: fmt.Sprintf("malformed frame of type 0x%02X %s", m.typ, wiretest.Brief(b)),
		seq:  seq, frame: wiretest.Raw(m.typ, seq, b), prompt: true, check: wantError(""),
	}
}
