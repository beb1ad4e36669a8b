package framing

import (
	"bytes"
	"strings"
	"testing"
)

func TestTextsAreCut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{MaxText - 1, MaxText, MaxText + 1, 2 * MaxText, 1 << 20} {
		long := strings.Repeat("é", n/2+1)[:n]
		want := long[:min(n, 65535)]
		message, err := ParseError(AppendError(nil, 1, long)[HeaderSize:])
		if err != nil || string(message) != want {
			t.Errorf("%d bytes: error of %d, %v", n, len(message), err)
		}
		reason, ok, err := ParseWriteFileResult(AppendWriteFileResult(nil, 1, long)[HeaderSize:])
		if err != nil || ok || string(reason) != want {
			t.Errorf("%d bytes: reason of %d, %v, %v", n, len(reason), ok, err)
		}
	}
}

// TestMaxOutputIsExact builds the longest results and decodes them.
func TestMaxOutputIsExact(t *testing.T) {
	t.Parallel()
	if got := u32(AppendExecResultHead(nil, 1, 0, MaxOutput-5, 5)); got != MaxLength {
		t.Errorf("exec_result: length %d", got)
	}
	if got := u32(AppendProcessExitHead(nil, 1, 0, 5, MaxOutput-4-5)); got != MaxLength {
		t.Errorf("process_exit: length %d", got)
	}
}

// TestResultHeads builds results in pieces, as for output in a file.
func TestResultHeads(t *testing.T) {
	t.Parallel()
	for nout := range 3 {
		for nerr := range 3 {
			r := ExecResult{-1, payloadOf(nout), payloadOf(nerr)}
			b := AppendExecResultHead(nil, 9, r.ExitCode, nout, nerr)
			b = append(AppendCount(append(b, r.Stdout...), nerr), r.Stderr...)
			if !bytes.Equal(b, AppendExecResult(nil, 9, &r)) {
				t.Errorf("exec_result of %d and %d: %x", nout, nerr, b)
			}
			b = AppendProcessExitHead(nil, 9, r.ExitCode, nout, nerr)
			b = append(AppendCount(append(b, r.Stdout...), nerr), r.Stderr...)
			if !bytes.Equal(b, AppendProcessExit(nil, 9, &r)) {
				t.Errorf("process_exit of %d and %d: %x", nout, nerr, b)
			}
		}
	}
}

func TestResultErrors(t *testing.T) {
	t.Parallel()
	const many = "\xff\xff\xff\xff"
	for _, test := range []struct {
		typ     Type
		payload string
		want    string
	}{
		{TypeExecResult, "", "exec_result: payload is short"},
		{TypeExecResult, strings.Repeat("\x00", 11), "exec_result: payload is short"},
		{TypeExecResult, "\x00\x00\x00\x00" + many + "\x00\x00\x00\x00", "exec_result: a count does not add up"},
		{TypeExecResult, "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", "exec_result: a count does not add up"},
		{TypeExecResult, "\x00\x00\x00\x00\x00\x00\x00\x00" + many, "exec_result: a count does not add up"},
		{TypeExecResult, strings.Repeat("\x00", 13), "exec_result: a count does not add up"},
		{TypeProcessExit, strings.Repeat("\x00", 15), "process_exit: payload is short"},
		{TypeProcessExit, strings.Repeat("\x00", 17), "process_exit: a count does not add up"},
		{TypeSpawnResult, "\x00\x00\x00", "spawn_watch_result: payload is short"},
		{TypeSpawnResult, "\x00\x00\x00\x00\x00", "spawn_watch_result: payload is long"},
		{TypeWriteFileResult, "\x00\x00", "write_file_result: payload is short"},
		{TypeWriteFileResult, "\x02\x00\x00", "write_file_result: success is neither 0 nor 1"},
		{TypeWriteFileResult, "\x01\x00\x01", "write_file_result: a count does not add up"},
		{TypeWriteFileResult, "\x01\x00\x00x", "write_file_result: a count does not add up"},
		{TypeError, "\x00", "error: payload is short"},
		{TypeError, "\x00\x01", "error: a count does not add up"},
		{TypeError, "\x00\x01ab", "error: a count does not add up"},
	} {
		agree(t, test.typ, []byte(test.payload))
		if _, err := describe(test.typ, []byte(test.payload)); err == nil || err.Error() != test.want {
			t.Errorf("%v %q: %v, want %s", test.typ, test.payload, err, test.want)
		}
	}
}
