package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/framing"
	"wick/framing/wiretest"
)

// escape is what a guest would have a terminal do.
const escape = "\x1b]0;owned\a\x1b[2Jred\u202e"

// lying starts a guest that has all features and answers every message by answer. It returns its
// address.
func lying(t *testing.T, answer func(framing.Header, []byte) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	serve := func(conn net.Conn) {
		defer conn.Close()
		conn.Write(framing.AppendFrame(nil, framing.TypeReady, 0, nil))
		for {
			f, err := wiretest.ReadFrame(conn)
			if err != nil {
				return
			}
			h := framing.Header{Type: framing.Type(f.Type), Seq: f.Seq, Size: len(f.Payload)}
			reply := answer(h, f.Payload)
			if h.Type == framing.TypeHello {
				reply = framing.AppendHelloResult(nil, h.Seq, &framing.HelloResult{Version: framing.Version, Features: 1<<32 - 1})
			}
			conn.Write(reply)
		}
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return "unix:" + path
}

// wick runs a command line in this process.
func wick(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code = (&tool{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}).main(ctx, args)
	return code, out.String(), errs.String()
}

// TestGuestsWords do nothing to the terminal that they are shown on.
func TestGuestsWords(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		answer func(framing.Header, []byte) []byte
	}{
		"an error": {[]string{"exec", "true"}, func(h framing.Header, _ []byte) []byte {
			return framing.AppendError(nil, h.Seq, escape)
		}},
		"a start that failed": {[]string{"exec", "true"}, func(h framing.Header, _ []byte) []byte {
			return framing.AppendExited(nil, h.Seq, &framing.Exited{Reason: framing.ReasonNotStarted, Code: 127, Message: []byte(escape)})
		}},
		"an operation that failed": {[]string{"thaw"}, func(h framing.Header, _ []byte) []byte {
			return framing.AppendDone(nil, h.Seq, uint32(syscall.EINVAL), 0, escape)
		}},
		"a figure": {[]string{"stats"}, func(h framing.Header, _ []byte) []byte {
			var f framing.Figures
			f.Add(escape, 1)
			return framing.AppendFigures(nil, h.Seq, f)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, stdout, stderr := wick(t, append([]string{"--to", lying(t, test.answer)}, test.args...)...)
			if said := stdout + stderr; strings.ContainsAny(said, "\x1b\a\u202e") || !strings.Contains(said, "?[2Jred?") {
				t.Errorf("got %q", said)
			}
		})
	}
	if got := output.PrintableLines("a\n\tb\x1b\r\u2028\n"); got != "a\n\tb???\n" {
		t.Errorf("got %q", got)
	}
}

// TestCopyFromWhoStalls breaks off by itself when this side cannot go on.
func TestCopyFromWhoStalls(t *testing.T) {
	to := t.TempDir()
	if err := os.MkdirAll(filepath.Join(to, "dir/f/full"), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := lying(t, func(h framing.Header, payload []byte) []byte {
		switch h.Type {
		case framing.TypeStat:
			return framing.AppendStatResult(nil, h.Seq, &framing.FileInfo{Mode: syscall.S_IFDIR | 0o755})
		case framing.TypeList:
			if l, err := framing.ParseList(payload); err == nil && l.Flags&framing.FileAttributes != 0 {
				return framing.AppendDone(nil, h.Seq, 0, 0, "")
			}
			entry := framing.AppendFileInfo(nil, &framing.FileInfo{Mode: syscall.S_IFREG | 0o644, Size: 5, Name: []byte("f")})
			return append(append(framing.AppendOutputHead(nil, h.Seq, framing.StreamOutput, len(entry)), entry...), framing.AppendDone(nil, h.Seq, 0, 1, "")...)
		}
		return nil // what is in the file never comes
	})
	began := time.Now()
	code, _, stderr := wick(t, "--to", addr, "cp", ":/dir", to)
	if code != 1 || !strings.Contains(stderr, "not empty") || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d after %v: %s", code, time.Since(began), stderr)
	}
}

// TestGuestsCodes make no success of a failure.
func TestGuestsCodes(t *testing.T) {
	for _, test := range []struct {
		exited framing.Exited
		want   int
	}{
		{framing.Exited{Reason: framing.ReasonTimedOut, Code: 0}, 255},
		{framing.Exited{Reason: framing.ReasonTimedOut, Code: 256}, 255},
		{framing.Exited{Reason: framing.ReasonOutOfMemory, Code: 512}, 255},
		{framing.Exited{Reason: framing.ReasonNotStarted, Code: 0}, 255},
		{framing.Exited{Reason: framing.ReasonNotStarted, Code: 256}, 255},
		{framing.Exited{Reason: framing.ReasonSignalled, Signal: 9, Code: 0}, exit.Own},
		{framing.Exited{Reason: framing.ReasonExited, Code: 256}, 255},
	} {
		code, _, _ := wick(t, "--to", lying(t, func(h framing.Header, _ []byte) []byte {
			if h.Type != framing.TypeStart {
				return nil
			}
			var started []byte
			if test.exited.Reason != framing.ReasonNotStarted {
				started = framing.AppendStarted(nil, h.Seq, framing.Started{PID: 5})
			}
			return append(started, framing.AppendExited(nil, h.Seq, &test.exited)...)
		}), "exec", "true")
		if code != test.want {
			t.Errorf("%+v: exit code %d, want %d", test.exited, code, test.want)
		}
	}
}

// TestCutOff is a guest that was lost, whatever was asked of it.
func TestCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write(framing.AppendFrame(nil, framing.TypeReady, 0, nil))
			for {
				f, err := wiretest.ReadFrame(conn)
				if err != nil || f.Type != wiretest.Hello {
					break
				}
				conn.Write(framing.AppendHelloResult(nil, f.Seq, &framing.HelloResult{Version: framing.Version, Features: 1<<32 - 1}))
			}
			conn.Close()
		}
	}()
	for _, args := range [][]string{
		{"ping"}, {"ls", "/"}, {"stats"}, {"ps"}, {"stat", "/"}, {"cat", "/etc/passwd"}, {"cp", ":/etc", t.TempDir()}, {"put", os.Args[0], "/x"}, {"thaw"},
		{"exec", "--", "true"}, {"shutdown"},
	} {
		if args[0] == "put" {
			args[1] = filepath.Join("testdata", "script", "put.txtar")
		}
		code, _, stderr := wick(t, append([]string{"--to", "unix:" + path}, args...)...)
		if code != exit.Own || !strings.Contains(stderr, "connection lost") {
			t.Errorf("%q: exit code %d, %s", args, code, stderr)
		}
	}
}
