package session

import (
	"testing"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestPanic has a fault in a process's stdin. It costs the process, and not its connection.
func TestPanic(t *testing.T) {
	t.Parallel()
	var s *Service
	r := roomtest.New(t, func(r *roomtest.Room) (end func()) {
		var err error
		s, err = NewService(Config{
			Loop: r.Loop, Log: r.Log, Garbage: &r.Garbage, Server: r.Server, Table: r.Table, Env: &r.Env,
			Null: r.Null, Root: true, Kept: 4, Changed: func() {},
		})
		if err != nil {
			t.Error(err)
		}
		return func() { s.Drop(); s.Close() }
	})
	h := r.Dial()
	start := framing.Start{ID: 1, Stdin: true, KeepMS: 1000}
	start.Args.Add("cat")
	h.Send(framing.AppendStart(nil, 2, &start))
	h.Want(framing.TypeStarted, 2)
	r.Do(func() {
		in := &s.sessions[0].in
		in.head, in.tail = 5, 3 // which cannot be
		in.pipe.Want(reactor.Write)
	})
	h.WantError(2, "internal error")
	h.Ping(3)
	r.Until("nothing is held", func() bool {
		processes, buffers := s.Held()
		return processes+buffers+len(r.Table.Running()) == 0
	})
}
