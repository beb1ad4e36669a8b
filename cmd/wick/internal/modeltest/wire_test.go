package modeltest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

const (
	maxOutput   = 32 << 10  // content of an output of a read or a list
	maxStreamed = 256 << 10 // content of an output of a process or a forwarded connection
	inputWindow = 60 << 10  // of a process's stdin
	writeWindow = 64 << 10  // of a write
	keepForever = 1<<32 - 1
)

// These are the flags of a start.
const (
	fShell byte = 1 << iota
	fStdin
	fTerminal
	fMerge
	fOnly
)

// These are the flags of a write that the tests use.
const (
	wInPlace   = 1 << 1
	wExclusive = 1 << 2
	wMode      = 1 << 4
	wParents   = 1 << 6
	wAppend    = 1 << 7
	wTruncate  = 1 << 8
)

// These are the ops of a change.
const (
	opMkdir byte = 1 + iota
	opRemove
	opRename
	opSymlink
	opLink
	opChmod
	opChown
	opUtime
)

// execPayload makes the payload of an exec or spawn_watch. env has names and values in turn.
func execPayload(timeoutMS int, command string, longForm bool, env []string) []byte {
	switch {
	case len(env) > 0:
		return wiretest.Payload(wiretest.Exec, timeoutMS, 0, command, env)
	case longForm:
		return wiretest.Payload(wiretest.Exec, timeoutMS, 0, command)
	}
	return wiretest.Payload(wiretest.Exec, timeoutMS, command)
}

// startPayload makes the payload of a start with that credit.
func (p *proc) startPayload(credit [2]int) []byte {
	var limits []uint64
	for _, l := range p.limits {
		limits = append(limits, l[:]...)
	}
	return wiretest.Payload(wiretest.Start, p.id, p.flags, p.timeout, p.keep, credit[0], credit[1], p.cap, p.rows, p.columns,
		p.user, p.dir, p.args, p.env, limits)
}

func attachPayload(id uint64, at, credit [2]int) []byte {
	return wiretest.Payload(wiretest.Attach, id, at[0], at[1], credit[0], credit[1])
}

func writePayload(flags, mode, offset int, path string) []byte {
	return wiretest.Payload(wiretest.Write, flags, mode, 0, 0, offset, path)
}

func changePayload(op, flags byte, mode int, path, other string) []byte {
	return wiretest.Payload(wiretest.Change, op, flags, mode, keepForever, keepForever, 0, path, other)
}

// result is the result of a command.
type result struct {
	pid            int // of a process_exit
	code           int32
	stdout, stderr []byte
}

func parseResult(typ byte, payload []byte) (r result, err error) {
	in, err := wiretest.Parse(typ, payload)
	if err != nil || typ != wiretest.ExecResult && typ != wiretest.ProcessExit {
		return r, fmt.Errorf("type 0x%02X %s, want a result: %w", typ, wiretest.Brief(payload), err)
	}
	if typ == wiretest.ProcessExit {
		r.pid = in.Int("pid")
	}
	r.code, r.stdout, r.stderr = int32(in.Int("code")), in.Get("stdout").Text, in.Get("stderr").Text
	return r, nil
}

func (r result) String() string {
	return fmt.Sprintf("code %d, stdout %s, stderr %s", r.code, wiretest.Brief(r.stdout), wiretest.Brief(r.stderr))
}

// parseText parses the payload of an error.
func parseText(payload []byte) (string, error) {
	in, err := wiretest.Parse(wiretest.Error, payload)
	if err != nil {
		return "", err
	}
	return in.Text("message"), nil
}

// done is the payload of a done.
type done struct {
	errno unix.Errno
	value int
}

func parseDone(typ byte, payload []byte) (d done, err error) {
	in, err := wiretest.Parse(typ, payload)
	if typ != wiretest.Done || err != nil {
		return d, fmt.Errorf("type 0x%02X %s, want a done", typ, wiretest.Brief(payload))
	}
	d = done{unix.Errno(in.Int("errno")), in.Int("value")}
	if reason := in.Text("reason"); (d.errno == 0) != (reason == "") {
		return d, fmt.Errorf("done with errno %d (%v) and reason %q", d.errno, d.errno, reason)
	}
	return d, nil
}

// wantDone returns a check for a done with one of those errnos.
func wantDone(errnos ...unix.Errno) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		d, err := parseDone(typ, payload)
		if err != nil {
			return err
		}
		for _, e := range errnos {
			if d.errno == e {
				return nil
			}
		}
		return fmt.Errorf("done with errno %d (%v), want %v", d.errno, d.errno, errnos)
	}
}

// info is a stat_result, or an entry of a list.
type info struct {
	mode, size, links int
	name, target      string
}

func infoOf(in wiretest.Fields) info {
	return info{in.Int("mode"), in.Int("bytes"), in.Int("nlink"), in.Text("name"), in.Text("target")}
}

// receipt is the payload of an exited.
type receipt struct {
	reason, signal, stage byte
	code                  int32
	errno                 unix.Errno
	elapsed               int // µs
	total, dropped        [2]int
	left                  int
	message               string
}

func parseReceipt(payload []byte) (r receipt, err error) {
	in, err := wiretest.Parse(wiretest.Exited, payload)
	if err != nil {
		return r, err
	}
	if flags := in.Int("flags"); flags&^3 != 0 {
		return r, fmt.Errorf("flags 0x%02X of an exited", flags)
	}
	return receipt{
		reason: byte(in.Int("reason")), signal: byte(in.Int("signal")), stage: byte(in.Int("stage")),
		code: int32(in.Int("code")), errno: unix.Errno(in.Int("errno")), elapsed: in.Int("elapsed"),
		total: [2]int{in.Int("out"), in.Int("err")}, dropped: [2]int{in.Int("outdropped"), in.Int("errdropped")},
		left: in.Int("left"), message: in.Text("message"),
	}, nil
}

func (r receipt) String() string {
	return fmt.Sprintf("reason %d, signal %d, stage %d, code %d, errno %d, bytes %v, dropped %v, left %d, message %q",
		r.reason, r.signal, r.stage, r.code, r.errno, r.total, r.dropped, r.left, r.message)
}
