package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// streamFrame is a spawn_watch whose stdout comes in chunks, and in a log unless that is empty.
func streamFrame(seq uint32, command, log string) []byte {
	return framing.AppendExec(nil, framing.TypeSpawnWatch, seq, &framing.Exec{Command: []byte(command), Stream: true, Log: []byte(log)})
}

// chunks reads the chunks of the one process that runs up to its process_exit.
func (h *host) chunks() (data []byte, r framing.ExecResult) {
	h.Helper()
	for {
		typ, seq, payload := h.read()
		switch typ {
		case framing.TypeStdoutChunk:
			_, chunk, err := framing.ParseStdoutChunk(payload)
			if err != nil || seq != 0 {
				h.Fatal(seq, err)
			}
			data = append(data, chunk...)
		case framing.TypeProcessExit:
			if _, err := framing.ParseProcessExit(payload, &r); err != nil {
				h.Fatal(err)
			}
			return data, r
		default:
			h.Fatalf("%v among chunks", typ)
		}
	}
}

// TestFrozenLog has a command stream to a log on a file system that is frozen meanwhile: it waits, and other streams do not.
func TestFrozenLog(t *testing.T) {
	t.Parallel()
	b, dir := freezeBox(t)
	h := b.dial()
	h.extend()
	path, gate := b.fifo("gate")
	log := filepath.Join(dir, "log")
	h.send(streamFrame(1, "read x < "+path+"; seq 1 20000; echo end >&2; exit 3", log))
	h.want(framing.TypeSpawnResult, 1)
	h.freeze(2, maxFreeze)
	h.wantDone(2, 0)
	h.send(streamFrame(3, "echo never", log))
	h.want(framing.TypeError, 3)
	gate.WriteString("\n")
	b.until("held up", func(a *Agent) bool { return len(a.freezer.captures) == 1 })
	other := b.dial()
	other.ping(1)
	other.send(streamFrame(2, "echo hi", ""))
	other.want(framing.TypeSpawnResult, 2)
	if data, r := other.chunks(); string(data) != "hi\n" || r.ExitCode != 0 {
		t.Errorf("%q, %+v", data, r)
	}
	h.thaw(4)
	// The chunks may come before the done.
	var data []byte
	exited := false
	for done := false; !done || !exited; {
		typ, seq, payload := h.read()
		switch typ {
		case framing.TypeStdoutChunk:
			_, chunk, _ := framing.ParseStdoutChunk(payload)
			data = append(data, chunk...)
		case framing.TypeDone:
			done = seq == 4
		case framing.TypeProcessExit:
			var r framing.ExecResult
			if _, err := framing.ParseProcessExit(payload, &r); err != nil || r.ExitCode != 3 || string(r.Stderr) != "end\n" {
				t.Errorf("%+v, %v", r, err)
			}
			exited = true
		default:
			t.Fatalf("%v seq %d", typ, seq)
		}
	}
	got, err := os.ReadFile(log)
	if err != nil || len(got) != 108894 || !bytes.Equal(got, data) {
		t.Errorf("%d bytes logged, %d came, %v", len(got), len(data), err)
	}
	b.quiet(2)
}

// TestStolenOutput has another process read what a streamed command has left in its pipe: the exit does not wait for it.
func TestStolenOutput(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	path, gate := b.fifo("gate")
	// No host takes it for now.
	h.send(streamFrame(1, "read x < "+path+"; echo stolen; sleep 30 & exit 4", ""))
	h.want(framing.TypeSpawnResult, 1)
	h.Close()
	b.until("alone", func(a *Agent) bool { return len(a.conns) == 0 })
	gate.WriteString("\n")
	b.until("unheard", func(a *Agent) bool { return a.unheard() == 1 && a.commands[0].stdout.late })
	b.do(func(a *Agent) {
		o := &a.commands[0].stdout
		if n, err := sys.Read(o.pipe.FD(), make([]byte, 100)); n != len("stolen\n") || err != nil {
			t.Error(n, err)
		}
	})
	h = b.dial()
	h.ping(1)
	if data, r := h.chunks(); len(data) != 0 || r.ExitCode != 4 {
		t.Errorf("%q, %+v", data, r)
	}
}
