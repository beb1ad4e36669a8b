package framing

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// execPayload returns the payload of an exec frame.
func execPayload(e *Exec) []byte { return AppendExec(nil, TypeExec, 0, e)[HeaderSize:] }

// longExec returns a payload of the longer form, valid or not; raw follows the command.
func longExec(flags byte, command, raw string) []byte {
	b := append([]byte{0, 0, 0, 0}, flags)
	b = appendU32(b, uint32(len(command)))
	b = append(b, command...)
	return append(b, raw...)
}

// text returns a string with its 32-bit count.
func text(s string) string { return string(appendU32(nil, uint32(len(s)))) + s }

// execReason checks a payload in every way, whole and in pieces. It returns the reason of the error
// on which all agree, or "".
func execReason(t *testing.T, payload []byte) string {
	t.Helper()
	var e Exec
	want := fmt.Sprint(ParseExec(TypeExec, payload, &e))
	for _, size := range []int{1, 2, 3, 7, len(payload) + 1} {
		if got := fmt.Sprint(checkPieces(TypeExec, payload, every(size))); got != want {
			t.Fatalf("%x in pieces of %d: %s, want %s", payload, size, got, want)
		}
	}
	agree(t, TypeExec, payload)
	return strings.TrimPrefix(strings.TrimPrefix(want, "<nil>"), "exec: ")
}

// checkPieces runs an ExecChecker over a payload in pieces.
func checkPieces(typ Type, payload []byte, cut func() int) error {
	var c ExecChecker
	c.Reset(typ, len(payload))
	var first error
	for len(payload) > 0 {
		n := min(max(cut(), 1), len(payload))
		err := c.Check(payload[:n])
		payload = payload[n:]
		if first == nil {
			first = err
		} else if err != first {
			return fmt.Errorf("first %v, then %v", first, err)
		}
	}
	last := c.Finish()
	if first != nil && last != first {
		return fmt.Errorf("first %v, in the end %v", first, last)
	}
	return last
}

func TestExecErrors(t *testing.T) {
	t.Parallel()
	const one, two, many = "\x00\x00\x00\x01", "\x00\x00\x00\x02", "\xff\xff\xff\xff"
	for _, test := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"nothing", nil, reasonShort},
		{"seven bytes", make([]byte, 7), reasonShort},
		{"count of 4 GiB", []byte("\x00\x00\x00\x00" + many), reasonCount},
		{"count of 4 GiB in the longer form", []byte("\x00\x00\x00\x00\x00" + many + "ls"), reasonCount},
		{"one too few in the short form", []byte("\x00\x00\x00\x00" + one + "ls"), reasonCount},
		{"one too many in the short form", []byte("\x00\x00\x00\x00\x00\x00\x00\x03ls"), reasonCount},
		{"NUL first", execPayload(&Exec{Command: []byte("\x00ls")}), reasonCommand},
		{"NUL last", execPayload(&Exec{Command: []byte("ls\x00")}), reasonCommand},
		{"NUL in the longer form", longExec(1, "l\x00s", ""), reasonCommand},
		{"flag 2", longExec(2, "ls", ""), reasonFlag},
		{"flag 128 beside 1", longExec(129, "ls", ""), reasonFlag},
		{"flag before a bad count", longExec(4, "ls", "x"), reasonFlag},
		{"a byte after the command", longExec(0, "ls", "x"), reasonCount},
		{"three bytes after the command", longExec(0, "ls", "\x00\x00\x00"), reasonCount},
		{"no entries, and a byte", longExec(0, "ls", "\x00\x00\x00\x00x"), reasonCount},
		{"an entry that is not there", longExec(0, "ls", one), reasonCount},
		{"entries without end", longExec(0, "ls", many+text("A")+text("1")), reasonCount},
		{"one entry less", longExec(0, "ls", two+text("A")+text("1")), reasonCount},
		{"one entry more", longExec(0, "ls", one+text("A")+text("1")+text("B")+text("")), reasonCount},
		{"name without end", longExec(0, "ls", one+many+"AAAA"), reasonCount},
		{"name up to the end", longExec(0, "ls", one+"\x00\x00\x00\x05AAAAA"), reasonCount},
		{"value without end", longExec(0, "ls", one+text("A")+many+"AAAA"), reasonCount},
		{"value one short", longExec(0, "ls", one+text("A")+two+"1"), reasonCount},
		{"value one long", longExec(0, "ls", one+text("A")+one+"12"), reasonCount},
		{"empty name", longExec(0, "ls", one+text("")+text("1")), reasonEmptyName},
		{"entry of nothing", longExec(0, "ls", one+text("")+text("")), reasonEmptyName},
		{"empty second name", longExec(0, "ls", two+text("A")+text("1")+text("")+text("")), reasonEmptyName},
		{"name with =", longExec(0, "ls", one+text("A=B")+text("1")), reasonName},
		{"name that is =", longExec(0, "ls", one+text("=")+text("1")), reasonName},
		{"name with NUL", longExec(0, "ls", one+text("A\x00")+text("1")), reasonName},
		{"value with NUL", longExec(0, "ls", one+text("A")+text("1\x00")), reasonValue},
		{"value with =", longExec(0, "ls", one+text("A")+text("=")), ""},
		{"all empty", longExec(0, "", ""), ""},
		{"no entries", longExec(0, "", "\x00\x00\x00\x00"), ""},
		{"short and empty", make([]byte, 8), ""},
		{"short, the command's length like flags", execPayload(&Exec{Command: bytes.Repeat([]byte{1}, 256)}), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := execReason(t, test.payload); got != test.want {
				t.Errorf("%x: %q, want %q", test.payload, got, test.want)
			}
		})
	}
}

// TestSpawnWatchPayloads has the fields of spawn_watch alone: a flag to stream its stdout, and the
// path of a log.
func TestSpawnWatchPayloads(t *testing.T) {
	t.Parallel()
	const none, one = "\x00\x00\x00\x00", "\x00\x00\x00\x01"
	for _, test := range []struct {
		name    string
		payload []byte
		want    string // the reason, or the log
	}{
		{"flag 4", longExec(4, "ls", ""), reasonFlag},
		{"flag 128 beside 2", longExec(130, "ls", ""), reasonFlag},
		{"a log", longExec(2, "ls", none+"\x00\x02/l"), "/l"},
		{"a log without the flag", longExec(0, "ls", none+"\x00\x02/l"), "/l"},
		{"a log behind an entry", longExec(3, "ls", one+text("A")+text("1")+"\x00\x01l"), "l"},
		{"a log of one byte where a count could be", longExec(2, "ls", none+"\x00\x01\x01"), "\x01"},
		{"a log without the count of entries", longExec(2, "ls", "\x00\x02/l"), reasonCount},
		{"half a count", longExec(2, "ls", none+"\x00"), reasonCount},
		{"no byte", longExec(2, "ls", none+"\x00\x00"), reasonLog},
		{"no byte, and one", longExec(2, "ls", none+"\x00\x00l"), reasonLog},
		{"one too few", longExec(2, "ls", none+"\x00\x03/l"), reasonCount},
		{"one too many", longExec(2, "ls", none+"\x00\x01/l"), reasonCount},
		{"NUL", longExec(2, "ls", none+"\x00\x02/\x00"), reasonLog},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var e Exec
			err := ParseExec(TypeSpawnWatch, test.payload, &e)
			got := string(e.Log)
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "spawn_watch: ")
			}
			if got != test.want {
				t.Errorf("%x: %q, want %q", test.payload, got, test.want)
			}
			for _, size := range []int{1, 2, 3, 7, len(test.payload) + 1} {
				if got := checkPieces(TypeSpawnWatch, test.payload, every(size)); fmt.Sprint(got) != fmt.Sprint(err) {
					t.Errorf("%x in pieces of %d: %v, want %v", test.payload, size, got, err)
				}
			}
			agree(t, TypeSpawnWatch, test.payload)
			if execReason(t, test.payload) == "" {
				t.Errorf("%x: an exec may have that too", test.payload)
			}
		})
	}
}

// TestExecErrorLeavesTheResult checks that ParseExec changes nothing if the payload is bad.
func TestExecErrorLeavesTheResult(t *testing.T) {
	t.Parallel()
	e := Exec{TimeoutMS: 1, Root: true, Command: []byte("ls")}
	err := ParseExec(TypeSpawnWatch, longExec(4, "id", ""), &e)
	if err == nil || err.Error() != "spawn_watch: unknown flag" {
		t.Fatal(err)
	}
	if e.TimeoutMS != 1 || !e.Root || string(e.Command) != "ls" {
		t.Fatalf("%+v", e)
	}
}

func TestExecPayloadSize(t *testing.T) {
	t.Parallel()
	var env Env
	env.Add([]byte("A"), []byte("12"))
	for _, e := range []Exec{
		{},
		{Command: []byte("ls")},
		{Command: []byte("ls"), Root: true},
		{Command: []byte("ls"), Env: env},
		{Env: env, Root: true},
		{Stream: true},
		{Log: []byte("/l")},
		{Env: env, Stream: true, Log: []byte("/l")},
	} {
		if got, want := e.PayloadSize(), len(execPayload(&e)); got != want {
			t.Errorf("%+v: %d, want %d", e, got, want)
		}
	}
	if env.Len() != 1 || env.Size() != 4+1+4+2 {
		t.Errorf("%d entries of %d bytes", env.Len(), env.Size())
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	list := func(e Env) (all []string) {
		for key, value := range e.All {
			all = append(all, string(key)+"="+string(value))
		}
		return all
	}
	var env Env
	if got := list(env); got != nil || env.Len() != 0 || env.Size() != 0 {
		t.Fatalf("the zero Env has %q", got)
	}
	key := []byte("A")
	env.Add(key, []byte("1"))
	key[0] = 'x' // the caller may reuse its memory
	env.Add([]byte("B"), nil)
	if diff := cmp.Diff([]string{"A=1", "B="}, list(env)); diff != "" {
		t.Fatal(diff)
	}
	for key := range env.All {
		if string(key) != "A" {
			t.Fatal("the loop went on after break")
		}
		break
	}

	// Adding to a parsed Env does not change the buffer from which it was parsed, whatever room is
	// behind it.
	payload := execPayload(&Exec{Command: []byte("ls"), Env: env})
	b := append(payload, "next frame"...)
	was := string(b)
	var e Exec
	if err := ParseExec(TypeExec, b[:len(payload)], &e); err != nil {
		t.Fatal(err)
	}
	e.Env.Add([]byte("C"), []byte("3"))
	e.Command = append(e.Command, "; rm"...)
	if diff := cmp.Diff([]string{"A=1", "B=", "C=3"}, list(e.Env)); diff != "" {
		t.Error(diff)
	}
	if string(b) != was {
		t.Errorf("the buffer became %q, was %q", b, was)
	}
	if e.Env.Len() != 3 {
		t.Errorf("%d entries", e.Env.Len())
	}
}

// TestExecCheckerErrsEarly checks that a bad payload is refused at the byte that makes it bad,
// without the megabytes after it.
func TestExecCheckerErrsEarly(t *testing.T) {
	t.Parallel()
	const size = MaxPayload
	head := func(flags byte, n uint32) []byte { return appendU32([]byte{0, 0, 0, 0, flags}, n) }
	for _, test := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"command beyond the payload", head(0, size), reasonCount},
		{"flag", head(2, 0), reasonFlag},
		{"NUL", append(head(0, size-9), 0), reasonCommand},
		{"three bytes after the command", append(head(0, size-12), 'a'), ""},
		{"more entries than there is room for", append(head(0, 0), 0, 0x20, 0, 0), reasonCount},
		{"name beyond the payload", append(head(0, 0), 0, 0, 0, 1, 1, 0, 0, 0), reasonCount},
		{"name without room for a value", append(head(0, 0), 0, 0, 0, 1, 0, 0xff, 0xff, 0xe8), ""},
	} {
		var c ExecChecker
		c.Reset(TypeExec, size)
		if err := c.Check(test.bytes[:len(test.bytes)-1]); err != nil {
			t.Errorf("%s: too early: %v", test.name, err)
		}
		err := c.Check(test.bytes[len(test.bytes)-1:])
		if got := strings.TrimPrefix(fmt.Sprint(err), "exec: "); got != test.want && (test.want != "" || err != nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		if c.Finish() == nil {
			t.Errorf("%s: good in the end", test.name)
		}
	}
}

// TestExecCheckerMisuse passes pieces that are not the payload that Reset announced.
func TestExecCheckerMisuse(t *testing.T) {
	t.Parallel()
	payload := execPayload(&Exec{Command: []byte("ls")})
	var c ExecChecker
	if c.Finish() == nil {
		t.Error("nothing at all is good")
	}
	c.Reset(TypeExec, len(payload))
	if c.Check(payload) != nil || c.Check(nil) != nil || c.Finish() != nil {
		t.Error("not good")
	}
	if c.Check([]byte{0}) == nil || c.Finish() == nil {
		t.Error("good with a byte too many")
	}
	c.Reset(TypeExec, len(payload))
	if c.Check(payload[:9]) != nil || c.Finish() == nil {
		t.Error("good with a byte too few")
	}
	c.Reset(TypeSpawnWatch, 3)
	if err := c.Check(nil); err == nil || err.Error() != "spawn_watch: payload is short" {
		t.Error(err)
	}
}

// TestExecCheckerCountWraps refuses a count at its last byte even if eight times the count, in 32
// bits, would fit.
func TestExecCheckerCountWraps(t *testing.T) {
	t.Parallel()
	payload := []byte{0, 0, 0, 0, 0, 0, 0, 0, 4, 't', 'r', 'u', 'e', 0x20, 0, 0, 1}
	var c ExecChecker
	c.Reset(TypeExec, len(payload)+100)
	for i, b := range payload {
		if err := c.Check([]byte{b}); (err != nil) != (i == len(payload)-1) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}
