package watch

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// room is a service with a host that watches.
type room struct {
	*roomtest.Room
	host *roomtest.Host
	s    *Service
	dir  string
	view map[string]bool // what the host knows of the files, and whether each is a directory
	look int             // how often it had to look
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{dir: t.TempDir(), view: map[string]bool{}}
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		r.s = NewService(Config{
			Loop: r0.Loop, Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Dirs: 64,
		})
		return func() {}
	})
	r.host = r.Dial()
	return r
}

// window is the credit that a host keeps up.
const window = 64 << 10

// watch begins to watch a path below the directory, and waits for the first record.
func (r *room) watch(seq uint32, flags framing.WatchFlags, path, skip string) {
	r.Helper()
	r.ask(seq, flags, path, skip, window)
	for r.look = 0; r.look == 0; {
		r.records(seq)
	}
}

func (r *room) ask(seq uint32, flags framing.WatchFlags, path, skip string, credit uint32) {
	r.Helper()
	r.host.Send(framing.AppendWatch(nil, seq, &framing.Watch{
		Flags: flags, Credit: credit, Path: []byte(filepath.Join(r.dir, path)), Skip: []byte(skip),
	}))
}

// records reads an output, and has the view follow it.
func (r *room) records(seq uint32) (all []string) {
	r.Helper()
	return r.output(seq, r.host.Want(framing.TypeOutput, seq))
}

func (r *room) output(seq uint32, payload []byte) (all []string) {
	r.Helper()
	_, data, err := framing.ParseOutput(payload)
	if err != nil {
		r.Fatal(err)
	}
	r.host.Send(framing.AppendCredit(nil, seq, framing.StreamOutput, uint32(len(data))))
	for len(data) > 0 {
		record, rest, err := framing.CutWatchRecord(data)
		if err != nil {
			r.Fatal(err)
		}
		data = rest
		all = append(all, text(&record))
		r.follow(&record)
	}
	return all
}

// settle reads records until all changes have been reported, and returns them.
func (r *room) settle(seq uint32) (all []string) {
	r.Helper()
	roomtest.WaitFor(r.T, "all changes are reported", func() (done bool) {
		r.Do(func() {
			w := r.Server.All()[0].Channel(seq).(*watch)
			n, err := unix.IoctlGetInt(w.FD(), unix.TIOCINQ)
			done = err == nil && n == 0 && w.pause == idle && !w.timer.Running()
		})
		all = append(all, r.received(seq)...)
		return done
	})
	return all
}

// received reads the records that were sent by now.
func (r *room) received(seq uint32) (all []string) {
	r.Helper()
	r.host.Send(roomtest.Frame(framing.TypePing, 1000))
	for {
		switch typ, _, payload := r.host.Next(); typ {
		case framing.TypePong:
			return all
		case framing.TypeOutput:
			all = append(all, r.output(seq, payload)...)
		default:
			r.Fatalf("got %v %q while it watches", typ, payload)
		}
	}
}

var kindNames = []string{"look", "created", "modified", "attributed", "renamed", "removed"}

func text(w *framing.WatchRecord) string {
	s := kindNames[w.Kind] + " " + string(w.Path)
	if w.Kind == framing.WatchRenamed {
		s += " " + string(w.Other)
	}
	if w.Dir {
		s += "/"
	}
	return s
}

// follow changes the view as a record says.
func (r *room) follow(w *framing.WatchRecord) {
	path, other := string(w.Path), string(w.Other)
	switch w.Kind {
	case framing.WatchLook:
		r.look++
		r.view = r.files()
	case framing.WatchCreated:
		if !w.Dir || !r.view[path] {
			r.remove(path)
		}
		r.view[path] = w.Dir
	case framing.WatchRemoved:
		r.remove(path)
	case framing.WatchRenamed:
		from := r.view
		if _, known := from[path]; !known && w.Dir {
			path, from = other, r.files() // it was there already at the last look
		}
		moved := map[string]bool{other: w.Dir}
		for p, dir := range from {
			if rest, ok := strings.CutPrefix(p, path+"/"); ok {
				moved[other+"/"+rest] = dir
			}
		}
		r.remove(path)
		r.remove(other)
		for p, dir := range moved {
			r.view[p] = dir
		}
	}
}

// remove removes a path and all below it from the view.
func (r *room) remove(path string) {
	for p := range r.view {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(r.view, p)
		}
	}
}

// files returns what is in the directory.
func (r *room) files() map[string]bool {
	all := map[string]bool{}
	filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(r.dir, path); err == nil && rel != "." {
			all[rel] = d.IsDir()
		}
		return nil
	})
	return all
}

// mark makes a file, reads records up to its creation, and returns those before.
func (r *room) mark(seq uint32, name string) (before []string) {
	r.Helper()
	roomtest.WriteFile(r.T, filepath.Join(r.dir, name), "")
	for {
		all := r.records(seq)
		if i := slices.Index(all, "created "+name); i >= 0 {
			return append(before, all[:i]...)
		}
		before = append(before, all...)
	}
}

// check compares the view with the directory.
func (r *room) check(what string) {
	r.Helper()
	got, want := listing(r.view), listing(r.files())
	if got != want {
		r.Errorf("after %s the view is\n%s\nwant\n%s", what, got, want)
	}
}

func listing(files map[string]bool) string {
	var all []string
	for path, dir := range files {
		if dir {
			path += "/"
		}
		all = append(all, path)
	}
	sort.Strings(all)
	return strings.Join(all, "\n")
}

func (r *room) path(name string) string { return filepath.Join(r.dir, name) }

// must fails the test with an error.
func (r *room) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}
