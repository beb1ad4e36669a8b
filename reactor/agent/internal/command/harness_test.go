package command

import (
	"testing"

	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// room is a service that serves commands.
type room struct {
	*roomtest.Room
	s    *Service
	disk files.Disk
}

// newRoom makes a service. set, if not nil, changes its configuration.
func newRoom(t *testing.T, set func(*Config)) *room {
	t.Helper()
	r := &room{}
	dir := t.TempDir()
	r.disk.Spools[0] = dir
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		cfg := Config{
			Loop: r0.Loop, Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Table: r0.Table, Env: &r0.Env, Disk: &r.disk,
			Null: r0.Null, Root: true, Captures: 4, Exits: 4, Spool: 16, SpoolTotal: 512, Changed: func() {},
		}
		if set != nil {
			set(&cfg)
		}
		var err error
		if r.s, err = NewService(cfg); err != nil {
			t.Error(err)
		}
		return func() { r.s.Drop(); r.s.Close() }
	})
	return r
}

// untilRunning waits until n commands run.
func (r *room) untilRunning(n int) {
	r.Helper()
	r.Until("as many commands run", func() bool { return len(r.Table.Running()) == n })
}

// quiet waits until nothing is held.
func (r *room) quiet() {
	r.Helper()
	r.Until("nothing is held", func() bool {
		commands, exits, buffers := r.s.Held()
		return commands+exits+buffers == 0 && r.s.Spooled() == 0 && r.s.countUnread() == 0
	})
}
