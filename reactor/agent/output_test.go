package agent

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

type endedFunc func()

func (f endedFunc) ended() { f() }

// TestSpoolRoomReturns frees room on disk while a command whose output was truncated still writes.
// The result is the beginning of the output, without a hole.
func TestSpoolRoomReturns(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	b := newBox(t)
	b.limits = Limits{Spool: 3, SpoolTotal: 3}
	b.start()
	t.Cleanup(b.stop)
	first, endFirst := b.fifo("first")
	second, endSecond := b.fifo("second")
	h := b.dial()
	other := b.dial()
	other.exec(1, "head -c 2097152 /dev/zero; read x < "+first)
	b.until("the first is on disk", func(a *Agent) bool { return a.spooled == 2*mib })
	h.exec(2, "head -c 2097152 /dev/zero | tr '\\000' x; read x < "+second+"; head -c 100000 /dev/zero")
	b.until("the second is cut", func(a *Agent) bool {
		out := &a.commands[1].stdout
		return a.spooled == 3*mib && out.kept == mib && out.dropped == mib
	})
	endFirst.WriteString("\n")
	if r := other.result(1); len(r.Stdout) != 2*mib {
		t.Errorf("%d bytes of the first, want %d", len(r.Stdout), 2*mib)
	}
	b.until("there is room again", func(a *Agent) bool { return a.spooled == mib })
	endSecond.WriteString("\n")
	r := h.result(2)
	if len(r.Stdout) != mib || strings.Trim(string(r.Stdout), "x") != "" {
		t.Errorf("%d bytes of the second, want the first %d", len(r.Stdout), mib)
	}
	want := "[output truncated: " + sys.Num(mib+100000) + " bytes of stdout, 0 bytes of stderr dropped]"
	if string(r.Stderr) != want {
		t.Errorf("stderr %q, want %q", r.Stderr, want)
	}
	b.quiet(2)
}

// TestSpoolRoomReturnsAtOnce frees the room right after the piece of output that did not fit in it.
func TestSpoolRoomReturnsAtOnce(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.do(func(a *Agent) {
		o := capture{agent: a, owner: endedFunc(func() {}), spool: -1, limit: framing.MaxOutput}
		piece := func(c byte) { o.keep(bytes.Repeat([]byte{c}, 50000)) }
		piece('a')
		piece('b') // goes to a file
		if o.spool < 0 {
			t.Error("100000 bytes are held in memory")
			return
		}
		others := a.spoolRoom() - 20000
		a.spooled += others
		piece('c')
		a.spooled -= others
		piece('d')
		if o.kept != 120000 || o.dropped != 80000 {
			t.Errorf("kept %d bytes and dropped %d, want 120000 and 80000", o.kept, o.dropped)
		}
		got := make([]byte, o.kept)
		o.read(got, 0)
		if n := bytes.IndexByte(got, 'd'); n >= 0 {
			t.Errorf("output is kept behind the dropped bytes, from offset %d on", n)
		}
		o.release()
		if a.spooled != 0 {
			t.Errorf("%d bytes still counted", a.spooled)
		}
	})
}

// TestLateRest fills a pipe further, and lets another read from it, after the wait for its end is
// over. The agent waits for no more bytes than were in the pipe then, so that an output without an
// end does not delay the result.
func TestLateRest(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.do(func(a *Agent) {
		ended := 0
		var o capture
		w, err := o.open(a, endedFunc(func() { ended++ }))
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(w)
		defer o.release()
		defer o.close()
		hurry := func(what string, want int) {
			t.Helper()
			if over := o.hurry(); over != (want == 0) || o.rest != want {
				t.Errorf("%s: over %v, %d bytes waited for, want %d", what, over, o.rest, want)
			}
		}
		unix.Write(w, make([]byte, 100))
		hurry("at first", 100)
		unix.Write(w, make([]byte, 1000))
		hurry("once more was written", 100)
		unix.Read(o.pipe.FD(), make([]byte, 1050))
		hurry("once another has read", 50)
		unix.Write(w, make([]byte, 1000))
		hurry("once more was written again", 50)
		o.Ready(0)
		if !o.over() || ended != 1 {
			t.Errorf("all was read: over %v, told %d times", o.over(), ended)
		}
	})
}
