package machine

import (
	"path/filepath"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/network"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	launch.RunJob(SyncJob, FreezeJob)
	leaktest.Main(m)
}

// room is a service that serves the machine, and the disk that it holds.
type room struct {
	*roomtest.Room
	s        *Service
	holds    int
	restores int // how often Restored was called
}

func (r *room) Hold()    { r.holds++ }
func (r *room) Release() { r.holds-- }

func (r *room) Held() bool { return r.holds > 0 }

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{}
	dir := t.TempDir()
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		r.s = NewService(Config{
			Loop: r0.Loop, Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Contain: r0.Contain, Jobs: r0.Jobs, Disk: r,
			Null: r0.Null, AddFigures: func(*framing.Figures) {},
			Restored: func() { r.restores++ },
			Table:    r0.Table, Env: &r0.Env, Generation: filepath.Join(dir, "run", "generation"),
			Network: network.NewService(network.Config{
				Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Disk: &files.Disk{},
			}),
		})
		return func() { r.s.Stop(); r.s.Close() }
	})
	return r
}

// job has a shell do the jobs.
func (r *room) job(script string) {
	r.Helper()
	r.Do(func() { r.Jobs.Command = []string{"/bin/sh", "-c", script, "job"} })
}
