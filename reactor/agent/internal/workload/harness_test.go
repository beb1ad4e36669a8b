package workload

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/session"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == steps {
		takeSteps()
	}
	leaktest.Main(m)
}

// room is a workload in a room.
type room struct {
	*roomtest.Room
	sessions *session.Service
	work     *Service
	ends     int // how often the machine was to end
	changes  int // how often Running may have changed
	lines    chan string
}

// newRoom starts a workload with options, each "--name=value".
func newRoom(t *testing.T, options ...string) *room {
	t.Helper()
	r := &room{lines: make(chan string, 1000)}
	specs := parseAll(t, options...)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan bool)
	go func() {
		defer close(read)
		r.read(in)
	}()
	t.Cleanup(func() { // after the room's end
		out.Close()
		<-read
	})
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		logs := log.New(int(out.Fd()), log.LevelInfo)
		var err error
		r.sessions, err = session.NewService(session.Config{
			Loop: r0.Loop, Log: logs, Garbage: &r0.Garbage, Server: r0.Server, Table: r0.Table, Env: &r0.Env,
			Null: r0.Null, Root: true, Kept: 4, Places: Max, Changed: func() {},
		})
		if err != nil {
			t.Error(err)
		}
		r.work = NewService(Config{
			Loop: r0.Loop, Log: logs, Garbage: &r0.Garbage, Server: r0.Server, Sessions: r.sessions, Specs: specs,
			End: func() { r.ends++ }, Changed: func() { r.changes++ },
		})
		return func() {
			r.work.Stop()
			r.work.Close()
			r.sessions.Drop()
			r.sessions.Close()
		}
	})
	return r
}

// read passes on the lines of the log.
func (r *room) read(in *os.File) {
	defer in.Close()
	var text string
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		text += string(buf[:n])
		for {
			line, rest, ok := strings.Cut(text, "\n")
			if !ok {
				break
			}
			text = rest
			select {
			case r.lines <- line:
			default:
			}
		}
	}
}

// line waits for a line of the log that begins with text, and returns the rest of it.
func (r *room) line(text string) string {
	r.Helper()
	limit := time.After(roomtest.Patience)
	for {
		select {
		case line := <-r.lines:
			if rest, ok := strings.CutPrefix(line, text); ok {
				return rest
			}
		case <-limit:
			r.Fatalf("the log has no line %q", text)
		}
	}
}

// facts returns the facts about the workload.
func (r *room) facts() map[string]string {
	r.Helper()
	var facts framing.Facts
	r.Do(func() { r.work.AddFacts(&facts) })
	got := map[string]string{}
	for name, value := range facts.All {
		got[string(name)] = string(value)
	}
	return got
}

// wantFacts checks some of the facts.
func (r *room) wantFacts(want map[string]string) {
	r.Helper()
	got := r.facts()
	for name, value := range want {
		if got[name] != value {
			r.Errorf("fact %s is %q, want %q", name, got[name], value)
		}
	}
}

// attach attaches to the workload as the channel seq. The output that the host is told to be the
// oldest is where it begins, which attach returns.
func attach(h *roomtest.Host, seq, credit uint32) (from uint64) {
	h.Helper()
	for {
		h.Send(framing.AppendAttach(nil, seq, &framing.Attach{
			ID: framing.WorkloadID, Output: from, OutputCredit: credit, ErrorsCredit: credit,
		}))
		t, _, payload := h.Next()
		if t == framing.TypeStarted {
			return from
		}
		d, err := framing.ParseDone(payload)
		if t != framing.TypeDone || err != nil || d.Errno != uint32(unix.EINVAL) || d.Value <= from {
			h.Fatalf("attach at %d is answered by %v %+v, %v", from, t, d, err)
		}
		from = d.Value
	}
}

// output reads output up to exited, and grants credit for it.
func output(h *roomtest.Host, seq uint32) (text string, e framing.Exited) {
	h.Helper()
	for {
		switch t, got, payload := h.Next(); {
		case got != seq && t != framing.TypeDone:
			h.Fatalf("got %v seq %d, want seq %d", t, got, seq)
		case t == framing.TypeOutput:
			_, data, _ := framing.ParseOutput(payload)
			text += string(data)
			h.Send(framing.AppendCredit(nil, seq, framing.StreamOutput, uint32(len(data))))
		case t == framing.TypeExited:
			if err := framing.ParseExited(payload, &e); err != nil {
				h.Fatal(err)
			}
			return text, e
		case t != framing.TypeClose && t != framing.TypeDone:
			h.Fatalf("got %v", t)
		}
	}
}
