package watch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// TestChanges makes changes of each kind, and wants the records.
func TestChanges(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.must(os.Mkdir(r.path("d"), 0o755))
	r.watch(1, framing.WatchTree|framing.WatchAttributes, "", ".git/skipped")
	for i, x := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return os.WriteFile(r.path("d/f"), []byte("1"), 0o600) }, []string{"created d/f"}},
		{func() error { return os.WriteFile(r.path("d/f"), []byte("2"), 0o600) }, []string{"modified d/f"}},
		{func() error { return os.Chmod(r.path("d/f"), 0o640) }, []string{"attributed d/f"}},
		{func() error { return os.Rename(r.path("d/f"), r.path("g")) }, []string{"renamed d/f g"}},
		{func() error { return os.Rename(r.path("d"), r.path("e")) }, []string{"renamed d e/"}},
		{func() error { return os.WriteFile(r.path("e/f"), nil, 0o600) }, []string{"created e/f"}},
		{func() error { return os.Rename(r.path("g"), r.dir+"-out") }, []string{"removed g"}},
		{func() error { return os.Rename(r.dir+"-out", r.path("h")) }, []string{"created h"}},
		{func() error { return os.Rename(r.path("e"), r.dir+"-out") }, []string{"removed e/"}},
		{func() error { return os.Rename(r.dir+"-out", r.path("i")) }, []string{"created i/", "created i/f"}},
		{func() error { return os.WriteFile(r.path("i/g"), nil, 0o600) }, []string{"created i/g"}},
		{func() error { return os.Remove(r.path("i/g")) }, []string{"removed i/g"}},
		{func() error { return os.RemoveAll(r.path("i")) }, []string{"removed i/f", "removed i/"}},
		{func() error { return os.Symlink(r.dir, r.path("link")) }, []string{"created link"}},
		{func() error { return os.MkdirAll(r.path(".git/objects"), 0o755) }, nil},
		{func() error { return os.WriteFile(r.path("skipped"), nil, 0o600) }, nil},
		{func() error { return os.Rename(r.path("h"), r.path(".git/h")) }, []string{"removed h"}},
		{func() error { return os.WriteFile(r.path(".wick-1234"), nil, 0o600) }, nil},
		{func() error { return os.Rename(r.path(".wick-1234"), r.path("placed")) }, []string{"created placed"}},
	} {
		r.must(x.do())
		got := r.mark(1, fmt.Sprintf("mark%d", i))
		if x.want[0:] == nil && len(got) == 0 {
			continue
		}
		got = slices.DeleteFunc(got, func(s string) bool {
			return strings.HasPrefix(s, "attributed i") || strings.HasPrefix(s, "modified mark") ||
				slices.Contains(got, strings.Replace(s, "modified ", "created ", 1)) && s[0] == 'm'
		})
		got = slices.Compact(got) // the events of a change may come in two turns
		if !slices.Equal(got, x.want) {
			t.Errorf("change %d has records %q, want %q", i, got, x.want)
		}
	}
}

// TestAppear makes directories and what is in them faster than the agent watches them. No file is
// lost, in new directories and in those that are moved in.
func TestAppear(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.watch(1, framing.WatchTree, "", "")
	for i := range 6 {
		top := fmt.Sprintf("t%d", i)
		r.must(os.MkdirAll(r.path(top+"/a/b/c"), 0o755))
		for _, f := range []string{"/f", "/a/f", "/a/b/c/f"} {
			roomtest.WriteFile(t, r.path(top+f), "")
		}
		r.must(os.RemoveAll(r.path(top + "/a/b")))
		r.must(os.Mkdir(r.path(top+"/a/b"), 0o755))
		roomtest.WriteFile(t, r.path(top+"/a/b/g"), "")
	}
	r.settle(1)
	r.check("directories appeared")
	if r.look != 1 {
		t.Errorf("the host had to look %d times, want once", r.look)
	}
	r.must(os.RemoveAll(r.path("t0")))
	r.must(os.Rename(r.path("t1"), r.path("t2/t1")))
	r.settle(1)
	r.check("a tree was removed and one moved")
	r.Do(func() {
		dirs := 1
		for _, dir := range r.files() {
			if dir {
				dirs++
			}
		}
		if r.s.Watched() != dirs {
			t.Errorf("%d directories are watched, want %d", r.s.Watched(), dirs)
		}
	})
}

// TestFile watches a single file. It may be written, replaced, removed and made again, and nothing
// else is reported.
func TestFile(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	roomtest.WriteFile(t, r.path("f"), "")
	r.watch(1, framing.WatchTree, "f", "")
	for _, x := range []struct {
		do   func() error
		want string
	}{
		{func() error { return os.WriteFile(r.path("f"), []byte("1"), 0o600) }, "modified "},
		{func() error {
			if err := os.WriteFile(r.path("f~"), []byte("2"), 0o600); err != nil {
				return err
			}
			return os.Rename(r.path("f~"), r.path("f"))
		}, "created "},
		{func() error { return os.Remove(r.path("f")) }, "removed "},
		{func() error { return os.WriteFile(r.path("f"), nil, 0o600) }, "created "},
		{func() error { return os.Rename(r.path("f"), r.path("g")) }, "removed "},
	} {
		r.must(x.do())
		if got := slices.Compact(r.settle(1)); len(got) == 0 || got[0] != x.want || len(got) > 2 {
			t.Errorf("the file has records %q, want %q", got, x.want)
		}
	}
}

// TestFlat watches a directory without those below it.
func TestFlat(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.watch(1, 0, "", "")
	r.must(os.MkdirAll(r.path("a/b"), 0o755))
	roomtest.WriteFile(t, r.path("a/f"), "")
	r.must(os.Rename(r.path("a"), r.path("c")))
	if got, want := r.settle(1), []string{"created a/", "renamed a c/"}; !slices.Equal(got, want) {
		t.Errorf("the directory has records %q, want %q", got, want)
	}
}

// TestEnds has the path go in several ways. The watch ends, and its directories are free again.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(dir string) error{
		"removed":    os.RemoveAll,
		"moved":      func(dir string) error { return os.Rename(dir, dir+"-moved") },
		"moved away": func(dir string) error { return os.Rename(dir, filepath.Dir(dir)+"-moved") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t)
			r.must(os.MkdirAll(r.path("d/e"), 0o755))
			r.watch(1, framing.WatchTree, "d", "")
			r.must(end(r.path("d")))
			r.ended(1, unix.ENOENT)
		})
	}
	t.Run("parent moved", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		r.must(os.MkdirAll(r.path("p/d"), 0o755))
		r.watch(1, framing.WatchTree, "p/d", "")
		r.must(os.Rename(r.path("p"), r.path("q")))
		r.must(os.Mkdir(r.path("q/d/new"), 0o755))
		r.ended(1, unix.ENOENT)
	})
	t.Run("unmounted", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		dir := roomtest.FullDir(t, 1<<20)
		r.dir = dir
		r.must(os.Mkdir(r.path("d"), 0o755))
		r.watch(1, framing.WatchTree, "", "")
		r.must(unix.Unmount(dir, 0)) // not busy, though it is watched
		r.ended(1, unix.ENOENT)
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		r.watch(1, framing.WatchTree, "", "")
		r.host.Send(roomtest.Close(1, framing.StreamOutput))
		r.ended(1, unix.ECANCELED)
	})
	t.Run("lost", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		r.watch(1, framing.WatchTree, "", "")
		r.host.Close()
		r.Until("no directory is watched", func() bool { return r.s.Watched() == 0 && r.s.watches == 0 })
	})
}

// ended reads up to done, which must say that errno.
func (r *room) ended(seq uint32, errno unix.Errno) {
	r.Helper()
	for {
		switch typ, _, payload := r.host.Next(); typ {
		case framing.TypeOutput:
			r.output(seq, payload)
		case framing.TypeDone:
			d, err := framing.ParseDone(payload)
			if err != nil || d.Errno != uint32(errno) {
				r.Errorf("the watch ends with %d (%s), %v, want %d", d.Errno, d.Reason, err, errno)
			}
			r.Do(func() {
				if r.s.Watched() != 0 || r.s.watches != 0 {
					r.Errorf("%d directories of %d watches are watched, want none", r.s.Watched(), r.s.watches)
				}
			})
			return
		default:
			r.Fatalf("got %v %q, want the end of the watch", typ, payload)
		}
	}
}

// TestMany watches more directories than there may be: at once, and while they appear.
func TestMany(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	for i := range 63 {
		r.must(os.Mkdir(r.path(fmt.Sprint(i)), 0o755))
	}
	r.watch(1, framing.WatchTree, "", "")
	r.must(os.Mkdir(r.path("63"), 0o755))
	r.ended(1, unix.ENOSPC)
	r.ask(2, framing.WatchTree, "", "", window)
	r.ended(2, unix.ENOSPC)
	for i := range uint32(maxWatches) {
		r.ask(10+i, 0, "1", "", 0)
	}
	r.ask(3, 0, "", "", window)
	r.host.WantDone(3, unix.EMFILE)
}

// TestTurns registers ten thousand directories. The loop answers pings meanwhile.
func TestTurns(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	if dir, err := os.MkdirTemp("/dev/shm", "watch"); err == nil { // in memory, it is quick to make
		t.Cleanup(func() { os.RemoveAll(dir) })
		r.dir = dir
	}
	for i := range 100 {
		r.must(os.Mkdir(r.path(fmt.Sprint(i)), 0o755))
		for j := range 99 {
			r.must(os.Mkdir(r.path(fmt.Sprintf("%d/%d", i, j)), 0o755))
		}
	}
	r.Do(func() { r.s.Dirs = 10001 })
	began := time.Now()
	r.ask(1, framing.WatchTree, "", "", window)
	r.host.Send(roomtest.Frame(framing.TypePing, 2))
	pings := 0
	for typ, _, payload := r.host.Next(); typ != framing.TypeOutput; typ, _, payload = r.host.Next() {
		if typ != framing.TypePong {
			t.Fatalf("got %v %q", typ, payload)
		}
		pings++
		r.host.Send(roomtest.Frame(framing.TypePing, 2))
	}
	t.Logf("10,000 directories are registered in %v, with %d pings", time.Since(began), pings)
	if pings < 3 {
		t.Errorf("%d pings were answered while 10,000 directories were registered", pings)
	}
	r.Do(func() {
		if n, want := r.s.Watched(), 1+100+100*99; n != want {
			t.Errorf("%d directories are watched, want %d", n, want)
		}
	})
}

// TestOverflow has a host grant nothing, until the kernel's queue overflows. It is told to look,
// and then of changes again.
func TestOverflow(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.must(os.Mkdir(r.path("d"), 0o755))
	r.watch(1, framing.WatchTree, "", "")
	r.settle(1)
	queued := func() (n int) {
		r.Do(func() {
			w := r.Server.All()[0].Channel(1).(*watch)
			w.granted = 0
			n, _ = unix.IoctlGetInt(w.FD(), unix.TIOCINQ)
		})
		return n
	}
	for before, now := -1, queued(); now > before; before, now = now, queued() {
		for i := range 2000 {
			name := r.path(fmt.Sprintf("d/f%d", i))
			r.must(os.WriteFile(name, nil, 0o600))
			r.must(os.Remove(name))
		}
	}
	r.must(os.Rename(r.path("d"), r.path("e")))
	r.host.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, 1<<20))
	for r.look < 2 {
		r.records(1)
	}
	r.settle(1)
	roomtest.WriteFile(t, r.path("e/new"), "")
	r.settle(1)
	r.check("an overflow")
	if r.look > 3 {
		t.Errorf("the host had to look %d times, want twice", r.look)
	}
}

// TestRefused asks for what cannot be watched.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.must(os.Symlink(r.dir, r.path("link")))
	r.ask(1, 0, "none", "", 0)
	r.host.WantDone(1, unix.ENOENT)
	r.ask(2, framing.WatchSafe, "link", "", 0)
	r.host.WantDone(2, unix.ELOOP)
	r.ask(3, 0, strings.Repeat("x/", 3000), "", 0)
	r.host.WantDone(3, unix.ENAMETOOLONG)
	r.watch(4, framing.WatchTree, "link", "")
	roomtest.WriteFile(t, r.path("f"), "")
	if got := r.settle(4); len(got) == 0 || got[0] != "created f" {
		t.Errorf("a link to a directory has records %q, want \"created f\"", got)
	}
}

// FuzzEvents parses what the kernel never writes.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			e, ok := parseEvent(b)
			if !ok {
				return
			}
			if e.size < eventHead || e.size > len(b) || len(e.name) > e.size-eventHead {
				t.Fatalf("parseEvent(%x) has size %d and a name of %d bytes", b, e.size, len(e.name))
			}
			b = b[e.size:]
		}
	})
}
