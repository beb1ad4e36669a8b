package files

import (
	"testing"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	launch.RunJob(SyncJob)
	leaktest.Main(m)
}

// room is a service that serves files.
type room struct {
	*roomtest.Room
	s    *Service
	disk Disk
}

// newRoom makes a service. set, if not nil, changes its configuration.
func newRoom(t *testing.T, set func(*Config)) *room {
	t.Helper()
	r := &room{}
	r.disk.Spools[0] = t.TempDir()
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		cfg := Config{
			Loop: r0.Loop, Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Disk: &r.disk, Jobs: r0.Jobs,
			Root: true, Null: r0.Null, Changed: func() {},
		}
		if set != nil {
			set(&cfg)
		}
		r.s = NewService(cfg)
		return r.s.Drop
	})
	return r
}

// job has a shell do the syncs. Descriptor 0 is what it is to sync.
func (r *room) job(script string) {
	r.Helper()
	r.Do(func() { r.Jobs.Command = []string{"/bin/sh", "-c", script, "job"} })
}

// syncing waits until as many files are synced, and wait for that.
func (r *room) syncing(running, waiting int) {
	r.Helper()
	r.Until("as many files are synced and wait", func() bool {
		n, w := r.s.Syncing()
		return n == running && w == waiting
	})
}
