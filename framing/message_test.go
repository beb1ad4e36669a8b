package framing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// describe parses a message and renders it as in the golden files.
func describe(t Type, payload []byte) (string, error) {
	if extensionTypes[t] != nil {
		message, err := parseExtension(t, payload)
		if err != nil {
			return "", err
		}
		return render(message), nil
	}
	var s string
	line := func(format string, args ...any) { s += fmt.Sprintf(format, args...) + "\n" }
	switch t {
	case TypeExec, TypeSpawnWatch:
		var e Exec
		if err := ParseExec(t, payload, &e); err != nil {
			return "", err
		}
		line("timeout_ms = %d", e.TimeoutMS)
		line("root = %v", e.Root)
		line("command = %q", e.Command)
		for key, value := range e.Env.All {
			line("env = %q %q", key, value)
		}
		if e.Stream {
			line("stream = true")
		}
		if e.Log != nil {
			line("log = %q", e.Log)
		}
	case TypeExecResult, TypeProcessExit:
		var r ExecResult
		if t == TypeProcessExit {
			pid, err := ParseProcessExit(payload, &r)
			if err != nil {
				return "", err
			}
			line("pid = %d", pid)
		} else if err := ParseExecResult(payload, &r); err != nil {
			return "", err
		}
		line("exit_code = %d", r.ExitCode)
		line("stdout = %q", r.Stdout)
		line("stderr = %q", r.Stderr)
	case TypeWriteFile:
		var w WriteFile
		content, err := ParseWriteFile(payload, &w)
		if err != nil {
			return "", err
		}
		line("path = %q", w.Path)
		line("sudo = %v", w.Sudo)
		if w.Append {
			line("append = true")
		}
		line("content = %q", content)
		if w.Size != len(content) {
			line("size = %d", w.Size)
		}
	case TypeWriteFileResult:
		reason, ok, err := ParseWriteFileResult(payload)
		if err != nil {
			return "", err
		}
		line("success = %v", ok)
		line("error = %q", reason)
	case TypeSpawnResult:
		pid, err := ParseSpawnResult(payload)
		if err != nil {
			return "", err
		}
		line("pid = %d", pid)
	case TypeStdoutChunk:
		pid, data, err := ParseStdoutChunk(payload)
		if err != nil {
			return "", err
		}
		line("pid = %d", pid)
		line("data = %q", data)
	case TypeError:
		message, err := ParseError(payload)
		if err != nil {
			return "", err
		}
		line("message = %q", message)
	default:
		if len(payload) > 0 {
			line("payload = %q", payload)
		}
	}
	return s, nil
}

// build encodes the message that the lines describe.
func build(t *testing.T, typ Type, seq uint32, lines string) []byte {
	t.Helper()
	if like := extensionTypes[typ]; like != nil {
		return appendExtension(nil, seq, unrender(t, like, lines))
	}
	fields := map[string]string{}
	var env Env
	for line := range strings.Lines(lines) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		if key == "env" {
			name, err := strconv.QuotedPrefix(value)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			env.Add(unquote(t, name), unquote(t, value[len(name)+1:]))
			continue
		}
		fields[key] = value
	}
	text := func(key string) []byte { return unquote(t, fields[key]) }
	number := func(key string) int64 {
		n, err := strconv.ParseInt(fields[key], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return n
	}
	switch typ {
	case TypeExec, TypeSpawnWatch:
		e := Exec{
			TimeoutMS: uint32(number("timeout_ms")), Root: fields["root"] == "true", Command: text("command"), Env: env,
			Stream: fields["stream"] == "true",
		}
		if fields["log"] != "" {
			e.Log = text("log")
		}
		return AppendExec(nil, typ, seq, &e)
	case TypeExecResult:
		return AppendExecResult(nil, seq, &ExecResult{int32(number("exit_code")), text("stdout"), text("stderr")})
	case TypeProcessExit:
		r := ExecResult{int32(number("exit_code")), text("stdout"), text("stderr")}
		return AppendProcessExit(nil, uint32(number("pid")), &r)
	case TypeWriteFile:
		content := text("content")
		w := WriteFile{text("path"), fields["sudo"] == "true", fields["append"] == "true", len(content)}
		return append(AppendWriteFileHead(nil, seq, &w), content...)
	case TypeWriteFileResult:
		return AppendWriteFileResult(nil, seq, string(text("error")))
	case TypeSpawnResult:
		return AppendSpawnResult(nil, seq, uint32(number("pid")))
	case TypeStdoutChunk:
		data := text("data")
		return append(AppendStdoutChunkHead(nil, uint32(number("pid")), len(data)), data...)
	case TypeError:
		return AppendError(nil, seq, string(text("message")))
	}
	if fields["payload"] == "" {
		return AppendFrame(nil, typ, seq, nil)
	}
	return AppendFrame(nil, typ, seq, text("payload"))
}

func unquote(t *testing.T, quoted string) []byte {
	t.Helper()
	s, err := strconv.Unquote(quoted)
	if err != nil {
		t.Fatalf("%s: %v", quoted, err)
	}
	return []byte(s)
}

// baseTypes has every named type that is not of the extension, and allTypes every named type.
var (
	baseTypes = []Type{
		TypeReady, TypePing, TypePong, TypeExec, TypeExecResult, TypeWriteFile, TypeWriteFileResult, TypeSpawnWatch,
		TypeSpawnResult, TypeProcessExit, TypeShutdown, TypeShutdownAck, TypeStdoutChunk, TypeError,
	}
	allTypes = slices.AppendSeq(slices.Clone(baseTypes), maps.Keys(extensionTypes))
)

// agree fails the test unless the package and the naive reading agree on a payload, and an error
// has the promised type. It returns their result.
func agree(t *testing.T, typ Type, payload []byte) (lines string, ok bool) {
	t.Helper()
	got, err := describe(typ, payload)
	if typ == TypeStart && len(payload) > 8 && payload[8]&startConfined != 0 {
		return got, false // wiretest does not know the entries
	}
	if bad := (*PayloadError)(nil); err != nil && (!errors.As(err, &bad) || bad.Type != typ) {
		t.Fatalf("%v %x: error %#v", typ, payload, err)
	}
	want := naiveMessage(typ, payload)
	if got != want {
		t.Fatalf("%v %x:\ngot\n%s(%v)\nwant\n%s", typ, payload, got, err, want)
	}
	return got, err == nil
}

func TestTypeNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typ      Type
		name     string
		fromHost bool
	}{
		{TypeReady, "ready", false},
		{TypePing, "ping", true},
		{TypePong, "pong", false},
		{TypeExec, "exec", true},
		{TypeExecResult, "exec_result", false},
		{TypeWriteFile, "write_file", true},
		{TypeWriteFileResult, "write_file_result", false},
		{TypeSpawnWatch, "spawn_watch", true},
		{TypeSpawnResult, "spawn_watch_result", false},
		{TypeProcessExit, "process_exit", false},
		{TypeShutdown, "shutdown", true},
		{TypeShutdownAck, "shutdown_ack", false},
		{TypeError, "error", false},
		{TypeStdoutChunk, "stdout_chunk", false},
		{0x0D, "0x0D", false},
		{0x1F, "0x1F", false},
		{TypeSkip, "skip", true},
		{0x37, "0x37", false},
		{0x3F, "0x3F", false},
		{0x5E, "0x5E", false},
		{0xFE, "0xFE", false},
	} {
		if got := test.typ.String(); got != test.name {
			t.Errorf("type %d is called %q, want %q", test.typ, got, test.name)
		}
		if got := test.typ.FromHost(); got != test.fromHost {
			t.Errorf("%v from a host: %v", test.typ, got)
		}
	}
}
