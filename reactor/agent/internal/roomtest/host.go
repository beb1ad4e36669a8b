package roomtest

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/framing/wiretest"
)

// Host is the host's side of a connection.
type Host struct {
	*testing.T
	net.Conn
}

// Send sends frames, or a part of one.
func (h *Host) Send(frame []byte) {
	h.Helper()
	h.SetDeadline(time.Now().Add(Patience))
	if _, err := h.Write(frame); err != nil {
		h.Fatal(err)
	}
}

// TryNext reads a frame.
func (h *Host) TryNext() (t framing.Type, seq uint32, payload []byte, err error) {
	h.SetDeadline(time.Now().Add(Patience))
	f, err := wiretest.ReadFrame(h)
	return framing.Type(f.Type), f.Seq, f.Payload, err
}

// Next reads a frame, which must come.
func (h *Host) Next() (t framing.Type, seq uint32, payload []byte) {
	h.Helper()
	t, seq, payload, err := h.TryNext()
	if err != nil {
		h.Fatal(err)
	}
	return t, seq, payload
}

// Want reads a frame, which must have that type and seq, and returns its payload.
func (h *Host) Want(t framing.Type, seq uint32) []byte {
	h.Helper()
	gotType, gotSeq, payload := h.Next()
	if gotType != t || gotSeq != seq {
		h.Fatalf("got %v seq %d %.200q, want %v seq %d", gotType, gotSeq, payload, t, seq)
	}
	return payload
}

// WantError reads an error, whose text must contain text.
func (h *Host) WantError(seq uint32, text string) {
	h.Helper()
	got, err := framing.ParseError(h.Want(framing.TypeError, seq))
	if err != nil || !strings.Contains(string(got), text) {
		h.Fatalf("error %d says %q, %v, want %q", seq, got, err, text)
	}
}

// WantEnd reads the end of the connection.
func (h *Host) WantEnd() {
	h.Helper()
	if t, _, _, err := h.TryNext(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		h.Fatalf("got %v, %v, want the end", t, err)
	}
}

// HalfClose shuts down the host's writing side.
func (h *Host) HalfClose() { h.Conn.(*net.UnixConn).CloseWrite() }

// Ping has a ping answered.
func (h *Host) Ping(seq uint32) {
	h.Helper()
	h.Send(Frame(framing.TypePing, seq))
	h.Want(framing.TypePong, seq)
}

// Hello has the extension served.
func (h *Host) Hello() {
	h.Helper()
	h.Send(framing.AppendHello(nil, 0, framing.Version))
	h.Want(framing.TypeHelloResult, 0)
}

// Exec asks for a command.
func (h *Host) Exec(seq uint32, command string) {
	h.Helper()
	h.Send(Exec(framing.TypeExec, seq, 0, command))
}

// Result reads the result of a command.
func (h *Host) Result(seq uint32) (r framing.ExecResult) {
	h.Helper()
	if err := framing.ParseExecResult(h.Want(framing.TypeExecResult, seq), &r); err != nil {
		h.Fatal(err)
	}
	return r
}

// Exit reads stdout_chunks, and a process_exit.
func (h *Host) Exit() (chunks []byte, r framing.ExecResult) {
	h.Helper()
	for {
		typ, _, payload := h.Next()
		switch typ {
		case framing.TypeStdoutChunk:
			_, chunk, _ := framing.ParseStdoutChunk(payload)
			chunks = append(chunks, chunk...)
		case framing.TypeProcessExit:
			if _, err := framing.ParseProcessExit(payload, &r); err != nil {
				h.Fatal(err)
			}
			return chunks, r
		default:
			h.Fatalf("got %v among chunks", typ)
		}
	}
}

// Done reads a done.
func (h *Host) Done(seq uint32) framing.Done {
	h.Helper()
	d, err := framing.ParseDone(h.Want(framing.TypeDone, seq))
	if err != nil {
		h.Fatal(err)
	}
	return d
}

// WantDone reads a done, which must say that errno.
func (h *Host) WantDone(seq uint32, errno unix.Errno) {
	h.Helper()
	if d := h.Done(seq); d.Errno != uint32(errno) || (errno != 0) != (len(d.Reason) > 0) {
		h.Fatalf("done %d says %d (%s), want %d", seq, d.Errno, d.Reason, errno)
	}
}

// Wrote reads a write_file_result. It returns the reason of a failure, or nothing.
func (h *Host) Wrote(seq uint32) string {
	h.Helper()
	reason, ok, err := framing.ParseWriteFileResult(h.Want(framing.TypeWriteFileResult, seq))
	if err != nil || ok != (len(reason) == 0) {
		h.Fatal(ok, string(reason), err)
	}
	return string(reason)
}

// WriteTo begins a write and sends its content, which fits the first credit.
func (h *Host) WriteTo(seq uint32, flags framing.WriteFlags, path, content string) {
	h.Helper()
	h.Send(Write(seq, flags, path))
	h.Want(framing.TypeCredit, seq)
	h.Send(Input(seq, []byte(content)))
}

// WriteAll writes a file. The done must say that errno.
func (h *Host) WriteAll(seq uint32, flags framing.WriteFlags, path, content string, errno unix.Errno) {
	h.Helper()
	h.WriteTo(seq, flags, path, content)
	h.Send(Close(seq, framing.StreamInput))
	h.WantDone(seq, errno)
}

// Frame returns a frame without payload.
func Frame(t framing.Type, seq uint32) []byte { return framing.AppendFrame(nil, t, seq, nil) }

// Exec returns an exec, or a spawn_watch.
func Exec(t framing.Type, seq, ms uint32, command string) []byte {
	return framing.AppendExec(nil, t, seq, &framing.Exec{TimeoutMS: ms, Command: []byte(command)})
}

// Stream returns a spawn_watch whose stdout comes in chunks, and goes to a log unless that is
// empty.
func Stream(seq uint32, command, log string) []byte {
	e := framing.Exec{Command: []byte(command), Stream: true, Log: []byte(log)}
	return framing.AppendExec(nil, framing.TypeSpawnWatch, seq, &e)
}

// File returns a write_file.
func File(seq uint32, path string, content []byte) []byte {
	w := framing.WriteFile{Path: []byte(path), Size: len(content)}
	return append(framing.AppendWriteFileHead(nil, seq, &w), content...)
}

// Write returns a write.
func Write(seq uint32, flags framing.WriteFlags, path string) []byte {
	return framing.AppendWrite(nil, seq, &framing.Write{Flags: flags, Path: []byte(path)})
}

// Input returns an input.
func Input(seq uint32, content []byte) []byte {
	return framing.AppendFrame(nil, framing.TypeInput, seq, content)
}

// Close returns a close.
func Close(seq uint32, s framing.Stream) []byte { return framing.AppendClose(nil, seq, s) }

// Read returns a read.
func Read(seq, credit uint32, path string) []byte {
	return framing.AppendRead(nil, seq, &framing.Read{Credit: credit, Path: []byte(path)})
}

// List returns a list.
func List(seq, credit uint32, path string) []byte {
	return framing.AppendList(nil, seq, &framing.List{Credit: credit, Path: []byte(path)})
}

// Change returns a change.
func Change(seq uint32, op framing.ChangeOp, flags framing.FileFlags, path, other string) []byte {
	return framing.AppendChange(nil, seq, &framing.Change{
		Op: op, Flags: flags, Mode: 0o4777, UID: 99, GID: 99, ModTime: 99, Path: []byte(path), Other: []byte(other),
	})
}
