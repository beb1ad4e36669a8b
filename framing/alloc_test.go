package framing

import (
	"bytes"
	"testing"
)

// TestNothingAllocates checks that decoding, parsing valid payloads, and encoding into a buffer
// with room do not allocate. It is not parallel, because AllocsPerRun counts the whole process.
func TestNothingAllocates(t *testing.T) {
	var env Env
	env.Add([]byte("HOME"), []byte("/root"))
	env.Add([]byte("A"), nil)
	exec := Exec{TimeoutMS: 1, Root: true, Command: []byte("id"), Env: env}
	result := ExecResult{1, []byte("out"), []byte("err")}
	file := WriteFile{Path: []byte("/tmp/a"), Size: 3}
	payload := func(frame []byte) []byte { return frame[HeaderSize:] }
	execBytes := payload(AppendExec(nil, TypeExec, 1, &exec))
	fileBytes := append(payload(AppendWriteFileHead(nil, 1, &file)), "abc"...)
	resultBytes := payload(AppendExecResult(nil, 1, &result))
	exitBytes := payload(AppendProcessExit(nil, 1, &result))
	fileResultBytes := payload(AppendWriteFileResult(nil, 1, "disk full"))
	spawnBytes := payload(AppendSpawnResult(nil, 1, 2))
	errorBytes := payload(AppendError(nil, 1, "no"))
	long := AppendFrame(nil, TypeWriteFile, 1, payloadOf(1000))
	pings := bytes.Repeat(AppendFrame(nil, TypePing, 1, nil), 64)

	var (
		dst     = make([]byte, 0, 4096)
		decoder = Decoder{Window: 512}
		part    Part
		e       Exec
		r       ExecResult
		w       WriteFile
		checker ExecChecker
		parser  WriteFileParser
	)
	decode := func(b []byte) {
		for len(b) > 0 {
			n, err := decoder.Next(b[:min(len(b), 600)], &part)
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			b = b[n:]
		}
	}
	good := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		run  func()
	}{
		{"decode pings", func() { decode(pings) }},
		{"decode in pieces", func() { decode(long) }},
		{"header", func() { AppendHeader(dst, TypeExec, 1, 9) }},
		{"frame", func() { AppendFrame(dst, TypePong, 1, nil) }},
		{"count", func() { AppendCount(dst, 9) }},
		{"append error", func() { AppendError(dst, 1, "no") }},
		{"append exec", func() { AppendExec(dst, TypeExec, 1, &exec) }},
		{"append exec_result", func() { AppendExecResult(dst, 1, &result) }},
		{"append exec_result's head", func() { AppendExecResultHead(dst, 1, 0, 1, 2) }},
		{"append process_exit", func() { AppendProcessExit(dst, 1, &result) }},
		{"append process_exit's head", func() { AppendProcessExitHead(dst, 1, 0, 1, 2) }},
		{"append write_file's head", func() { AppendWriteFileHead(dst, 1, &file) }},
		{"append write_file_result", func() { AppendWriteFileResult(dst, 1, "disk full") }},
		{"append spawn_watch_result", func() { AppendSpawnResult(dst, 1, 2) }},
		{"parse exec", func() { good(ParseExec(TypeExec, execBytes, &e)) }},
		{"environment", func() {
			n := 0
			for key, value := range e.Env.All {
				n += len(key) + len(value)
			}
			if n != len("HOME/rootA") {
				t.Fatal(n)
			}
		}},
		{"check exec", func() {
			checker.Reset(TypeExec, len(execBytes))
			for i := range execBytes {
				good(checker.Check(execBytes[i : i+1]))
			}
			good(checker.Finish())
		}},
		{"parse exec_result", func() { good(ParseExecResult(resultBytes, &r)) }},
		{"parse process_exit", func() {
			_, err := ParseProcessExit(exitBytes, &r)
			good(err)
		}},
		{"parse write_file", func() {
			_, err := ParseWriteFile(fileBytes, &w)
			good(err)
		}},
		{"parse write_file in pieces", func() {
			parser.Reset(len(fileBytes))
			for i := range fileBytes {
				_, err := parser.Parse(fileBytes[i : i+1])
				good(err)
			}
			if h, ok := parser.Head(); !ok || h.Size != 3 {
				t.Fatal(h, ok)
			}
			good(parser.Finish())
		}},
		{"parse write_file_result", func() {
			_, _, err := ParseWriteFileResult(fileResultBytes)
			good(err)
		}},
		{"parse spawn_watch_result", func() {
			_, err := ParseSpawnResult(spawnBytes)
			good(err)
		}},
		{"parse error", func() {
			_, err := ParseError(errorBytes)
			good(err)
		}},
		{"name of a type", func() { _ = TypeExec.String() }},
	} {
		if n := testing.AllocsPerRun(100, test.run); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

// TestClaimsAllocateNothing gives the decoder and the parsers a frame that claims 16 MiB and has a
// few bytes.
func TestClaimsAllocateNothing(t *testing.T) {
	head := AppendHeader(nil, TypeWriteFile, 1, MaxPayload)
	claims := append(head, 0, 2, '/', 'a', 0, 0, 0xff, 0xff, 0xf2)
	execClaims := []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0}
	var part Part
	var parser WriteFileParser
	var checker ExecChecker
	n := testing.AllocsPerRun(100, func() {
		d := Decoder{Window: 64}
		if n, err := d.Next(claims, &part); n != len(claims) || err != nil || !d.Mid() {
			t.Fatal(n, err)
		}
		parser.Reset(part.Size)
		if _, err := parser.Parse(part.Data); err != nil {
			t.Fatal(err)
		}
		if h, ok := parser.Head(); !ok || h.Size != MaxPayload-9 {
			t.Fatal(h, ok)
		}
		checker.Reset(TypeExec, MaxPayload)
		if err := checker.Check(execClaims); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
