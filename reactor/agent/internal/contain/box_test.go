package contain

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestBoxFiles reads what the files of a cgroup have now, whether they stay open or not. The
// directory is an ordinary one, because the files of a cgroup cannot be written.
func TestBoxFiles(t *testing.T) {
	t.Parallel()
	for _, keeps := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "box")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("cgroup.events", "populated 1\nfrozen 0\n")
		write("cpu.stat", "usage_usec 12\nuser_usec 7\nsystem_usec 5\nnr_periods 0\n")
		write("memory.current", "4096\n")
		write("memory.events", "low 0\noom 2\noom_kill 1\n")
		fd, err := sys.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		pool, g := &Pool{}, &Box{name: dir, dir: fd}
		if keeps {
			pool.keepFiles(g)
		}
		if kills, u := g.OutOfMemory(), g.total(true); !g.populated() || kills != 1 || u != (usage{true, 7, 5, 4096}) {
			t.Errorf("keeps %v: got %d kills and %+v of a cgroup with processes", keeps, kills, u)
		}
		write("cgroup.events", "populated 0\nfrozen 0\n")
		write("cpu.stat", "usage_usec 120\nuser_usec 70\nsystem_usec 50\nnr_periods 0\n")
		write("memory.current", "0\n")
		write("memory.events", "low 0\noom 4\noom_kill 3\n")
		if kills, u := g.OutOfMemory(), g.total(true); g.populated() || kills != 2 || u != (usage{true, 70, 50, 0}) {
			t.Errorf("keeps %v: got %d kills and %+v of a cgroup without processes", keeps, kills, u)
		}
		for f, fd := range g.files {
			if (fd > 0) != keeps {
				t.Errorf("keeps %v: the descriptor of %s is %d", keeps, fileNames[f], fd)
			}
		}
		if g.spoiled {
			t.Errorf("keeps %v: a cgroup that was not frozen is not used again", keeps)
		}
		write("cgroup.events", "populated 0\nfrozen 1\n")
		if g.populated() || !g.spoiled {
			t.Errorf("keeps %v: a frozen cgroup is used again", keeps)
		}
		pool.remove(g) // leaktest finds a descriptor that is left open
		if pool.keepers != 0 {
			t.Errorf("keeps %v: %d cgroups count as keeping files after the last was removed", keeps, pool.keepers)
		}
	}
}

// TestBoxesKeepFiles makes more cgroups than may keep files.
func TestBoxesKeepFiles(t *testing.T) {
	t.Parallel()
	loop, err := reactor.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	pool := New(loop, log.New(2, log.LevelError), &sys.Garbage{}, func(func(*Box)) {})
	pool.path = t.TempDir()
	var all []*Box
	for range MaxIdle + 2 {
		g, err := pool.make()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	for i, g := range all {
		if want := i < MaxIdle; g.keeps != want {
			t.Errorf("cgroup %d keeps its files: %v, want %v", i, g.keeps, want)
		}
	}
	for i := range 2 {
		pool.remove(all[i])
	}
	if pool.keepers != MaxIdle-2 {
		t.Errorf("%d cgroups keep files after two were removed, want %d", pool.keepers, MaxIdle-2)
	}
	for _, g := range all[2:] {
		pool.remove(g)
	}
	if _, err := unix.Open(all[0].name, unix.O_PATH, 0); err != unix.ENOENT {
		t.Errorf("open %s: %v, want ENOENT", all[0].name, err)
	}
}
