package modeltest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// records is the channel of a request that is answered by records: kernel_log or watch. The host
// closes it after some of them, or leaves it open.
type records struct {
	seq    uint32
	what   string
	parse  func(b []byte) (rest []byte, err error) // takes one record
	limits []unix.Errno                            // why it may not start, or ends early
	ends   bool                                    // by itself
	credit int                                     // that is left
	closes int                                     // outputs before the close; -1: none
	begun  bool
	closed bool
}

// recordCredit is enough for the longest record, and recordRefill the credit that is given at once.
const (
	recordCredit = 32 << 10
	recordRefill = 128 << 10
)

func (k *records) String() string {
	return fmt.Sprintf("seq %d, %s, closed %v, credit %d", k.seq, k.what, k.closed, k.credit)
}
func (k *records) lost() {}

// take implements [channel].
func (k *records) take(typ byte, payload []byte) (over bool, err error) {
	if typ != wiretest.Output {
		d, err := parseDone(typ, payload)
		if err != nil {
			return false, err
		}
		ok := d.errno == 0 && k.ends || d.errno == unix.ECANCELED && k.closed
		for _, limit := range k.limits {
			ok = ok || d.errno == limit
		}
		if !ok {
			err = fmt.Errorf("done with errno %d (%v)", d.errno, d.errno)
		}
		return true, err
	}
	in, err := wiretest.Parse(typ, payload)
	if err != nil {
		return false, err
	}
	b := []byte(in.Text("data"))
	k.credit -= len(b)
	if k.begun = true; in.Int("stream") != 1 || k.credit < 0 || len(b) == 0 {
		return false, fmt.Errorf("stream %d, %d bytes, %d of them without credit", in.Int("stream"), len(b), -k.credit)
	}
	for len(b) > 0 {
		if b, err = k.parse(b); err != nil {
			return false, err
		}
	}
	if k.closes > 0 {
		k.closes--
	}
	return false, nil
}

// next implements [channel].
func (k *records) next() ([]byte, progress) {
	waits := rests
	if k.ends || k.closed {
		waits = awaits
	}
	switch {
	case k.closed:
		return nil, waits
	case k.begun && k.closes == 0:
		k.closed = true
		return wiretest.Make(wiretest.Close, k.seq, 1), awaits
	case k.credit < recordCredit:
		k.credit += recordRefill
		return wiretest.Make(wiretest.Credit, k.seq, 1, recordRefill), waits
	}
	return nil, waits
}

// takeText takes a text with its length from b.
func takeText(b []byte) (rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return nil, fmt.Errorf("a record is cut off: %s", wiretest.Brief(b))
	}
	return b[2+binary.BigEndian.Uint16(b):], nil
}

// kernelLog makes a kernel_log of what the log has.
func (h *host) kernelLog() *request {
	k := &records{seq: h.seq(), what: "kernel_log", ends: true, closes: h.r.IntN(8) - 1, limits: []unix.Errno{unix.EMFILE}}
	if !h.m.root {
		k.limits = append(k.limits, unix.EPERM, unix.EACCES, unix.ENOENT)
	}
	last := uint64(0)
	k.parse = func(b []byte) (rest []byte, err error) {
		const fixed = 2 + 8 + 8 + 8
		if len(b) < fixed {
			return nil, fmt.Errorf("a record of %d bytes", len(b))
		}
		seq := binary.BigEndian.Uint64(b[2:])
		if seq <= last && last > 0 {
			return nil, fmt.Errorf("record %d after record %d", seq, last)
		}
		last = seq
		if rest, err = takeText(b[fixed:]); err == nil {
			rest, err = takeText(rest)
		}
		return rest, err
	}
	k.credit = h.r.IntN(recordRefill)
	return &request{what: k.what, seq: k.seq, channel: k, frame: wiretest.Make(wiretest.KernelLog, k.seq, h.r.IntN(2), k.credit)}
}

// watchFiles makes a watch of the directory in which the hosts work.
func (h *host) watchFiles() *request {
	k := &records{seq: h.seq(), what: "watch", closes: h.r.IntN(12) - 1, limits: []unix.Errno{unix.EMFILE, unix.ENOSPC}}
	first := true
	k.parse = func(b []byte) (rest []byte, err error) {
		const look, removed = 0, 5
		if len(b) < 2 || b[0] > removed || first && b[0] != look {
			return nil, fmt.Errorf("record %s; the first of the watch: %v", wiretest.Brief(b), first)
		}
		first = false
		if rest, err = takeText(b[2:]); err == nil {
			rest, err = takeText(rest)
		}
		return rest, err
	}
	k.credit = h.r.IntN(recordRefill)
	flags := h.r.IntN(4) << 1 // tree, attributes
	return &request{what: k.what, seq: k.seq, channel: k,
		frame: wiretest.Make(wiretest.Watch, k.seq, flags, k.credit, h.m.dir, "")}
}

// services makes a list of services. A machine may have its workload alone. An agent that is not
// process 1 refuses the request.
func (h *host) services() *request {
	seq := h.seq()
	q := &request{what: "services", seq: seq, frame: wiretest.Make(wiretest.Services, seq, 0), prompt: true, check: wantDone(unix.ENOSYS)}
	if h.m.target.pid() == "1" {
		q.check = func(typ byte, payload []byte) error {
			in, err := wiretest.Parse(typ, payload)
			if err != nil || typ != wiretest.Facts {
				return fmt.Errorf("type 0x%02X %s, want facts", typ, wiretest.Brief(payload))
			}
			for _, fact := range in.List("facts") {
				if name := fact.Text("name"); !strings.HasPrefix(name, "workload.") {
					return fmt.Errorf("fact %s", name)
				}
			}
			return nil
		}
	}
	return q
}

// configure makes a configure of options that change nothing, and of wrong lines.
func (h *host) configure() *request {
	lines := [][2]string{ // with why they are wrong
		{"", ""}, {"# comment", ""}, {" log-level = info ", ""}, {"max-exits=256", ""}, {"command-env-only=no", ""},
		{"no-such=1", "no-such: unknown option"}, {"max-exits", "max-exits: needs a value: N"},
		{"log-level=loud", `log-level loud: unknown level "loud"`}, {"command-env-only=maybe", "command-env-only maybe: not yes or no"},
		{"command-env=hidden", "command-env: not NAME=VALUE"}, {`command-user="a`, `command-user "a: the quotes are not closed`},
		{"max-kept=5", "max-kept: a host cannot set it: it has an effect at the start alone"},
	}
	text, want := "", map[string]string{}
	for number := range h.r.IntN(20) {
		line := lines[h.r.IntN(len(lines))]
		text += line[0] + "\n"
		if line[1] != "" {
			want[fmt.Sprintf("line.%d", number+1)] = line[1]
		}
	}
	if h.r.IntN(4) == 0 {
		text += "\x00no-such=2\n"
	}
	seq := h.seq()
	payload := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	payload = binary.BigEndian.AppendUint16(append(payload, text...), 0)
	return &request{what: "configure", seq: seq, prompt: true, check: wantFacts(want),
		frame: wiretest.Raw(wiretest.Configure, seq, payload)}
}

// wantFacts returns a check for facts.
func wantFacts(want map[string]string) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		in, err := wiretest.Parse(typ, payload)
		if err != nil || typ != wiretest.Facts {
			return fmt.Errorf("type 0x%02X %s, want facts", typ, wiretest.Brief(payload))
		}
		facts := in.List("facts")
		for _, fact := range facts {
			if name, value := fact.Text("name"), fact.Text("value"); want[name] != value || value == "" {
				return fmt.Errorf("fact %s is %q, want %q", name, value, want[name])
			}
		}
		if len(facts) != len(want) {
			return fmt.Errorf("%d facts, want %d", len(facts), len(want))
		}
		return nil
	}
}
