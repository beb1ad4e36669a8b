package disks

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/leaktest"
)

// work is that of the tests' jobs. A text that begins with "open " has the child wait for a byte
// from the FIFO of that name.
var work = Work{
	Mount: func(volume string, wait time.Duration) (bool, error) {
		await(volume)
		switch volume {
		case "plain":
			return true, nil
		case "full":
			return true, &sys.WordedError{Errno: unix.ENOSPC, Words: "it is full"}
		case "own":
			return false, errors.New("no errno")
		}
		return false, &sys.WordedError{Errno: unix.ENOENT, Words: volume + " not within " + wait.String()}
	},
	Unmount: func(target string, lazy bool) error {
		if lazy {
			return nil
		}
		return &sys.WordedError{Errno: unix.EBUSY, Words: target + " is in use"}
	},
	Trim: func(path string) (uint64, error) { await(path); return 1<<40 + 5, nil },
	Grow: func(path string) (uint64, error) {
		unix.Kill(unix.Getpid(), unix.SIGKILL)
		return 0, nil
	},
	Show: func() [][2]string { return [][2]string{{"disk.a", "size=1"}, {"disk.b", ""}} },
}

func await(text string) {
	path, ok := strings.CutPrefix(text, "open ")
	if !ok {
		return
	}
	var b [1]byte
	if f, err := os.Open(path); err == nil {
		f.Read(b[:])
	}
}

func TestMain(m *testing.M) {
	launch.RunJob(work.Jobs()...)
	leaktest.Main(m)
}

// room is a service of disks.
type room struct {
	*roomtest.Room
	s    *Service
	disk files.Disk
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{}
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		r.s = NewService(Config{
			Loop: r0.Loop, Log: r0.Log, Garbage: &r0.Garbage, Server: r0.Server, Disk: &r.disk, Jobs: r0.Jobs, Null: r0.Null,
		})
		return r.s.Close
	})
	return r
}

func mount(seq uint32, volume string) []byte {
	return framing.AppendMount(nil, seq, &framing.VolumeMount{WaitMS: 1500, Volume: []byte(volume)})
}

func disk(seq uint32, op framing.DiskOp, path string) []byte {
	return framing.AppendDisk(nil, seq, op, []byte(path))
}

// wantDone reads a done.
func wantDone(t *testing.T, h *roomtest.Host, seq uint32, errno unix.Errno, value uint64, reason string) {
	t.Helper()
	if d := h.Done(seq); d.Errno != uint32(errno) || d.Value != value || string(d.Reason) != reason {
		t.Errorf("request %d: errno %d, value %d, reason %q; want %d, %d, %q", seq, d.Errno, d.Value, d.Reason, errno, value, reason)
	}
}

// TestWork has the results of jobs reach the host.
func TestWork(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	for i, c := range []struct {
		request []byte
		errno   unix.Errno
		value   uint64
		reason  string
	}{
		{mount(0, "plain"), 0, 1, ""},
		{mount(1, "full"), unix.ENOSPC, 1, "it is full"},
		{mount(2, "late"), unix.ENOENT, 0, "late not within 1.5s"},
		{mount(3, "own"), unix.EINVAL, 0, "no errno"},
		{framing.AppendUnmount(nil, 4, 0, []byte("/a b")), unix.EBUSY, 0, "/a b is in use"},
		{framing.AppendUnmount(nil, 5, framing.UnmountLazy, []byte("/a b")), 0, 0, ""},
		{disk(6, framing.DiskTrim, "/"), 0, 1<<40 + 5, ""},
		{disk(7, framing.DiskGrow, "/"), unix.EINTR, 0, "grow: interrupted system call"},
		{disk(8, 99, "/"), unix.EINVAL, 0, "disk: unknown operation 99"},
		{framing.AppendMount(nil, 9, &framing.VolumeMount{WaitMS: 3600_001}), unix.EINVAL, 0, "mount: wait is longer than an hour"},
	} {
		h.Send(c.request)
		wantDone(t, h, uint32(i), c.errno, c.value, c.reason)
	}
	h.Send(disk(10, framing.DiskShow, ""))
	facts, err := framing.ParseFacts(h.Want(framing.TypeFacts, 10))
	var got []string
	for name, value := range facts.All {
		got = append(got, string(name)+" "+string(value))
	}
	if want := []string{"disk.a size=1", "disk.b "}; err != nil || !slices.Equal(got, want) {
		t.Errorf("facts %q, %v, want %q", got, err, want)
	}
	r.Do(func() { r.Jobs.Command = []string{"/nonexistent"} })
	h.Send(mount(11, "plain"))
	if d := h.Done(11); d.Errno != uint32(unix.ENOENT) {
		t.Errorf("without the program: errno %d %q, want ENOENT", d.Errno, d.Reason)
	}
}

// fifo makes a FIFO, and returns its path and what lets its readers go on.
func fifo(t *testing.T) (path string, open func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0) // open until the end, for readers that come late
		if err == nil {
			_, err = f.Write(make([]byte, maxRequests))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
}

// TestLimits has too many requests, one that takes too long, a disk that is frozen, and a machine
// that ends.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	path, open := fifo(t)
	for seq := range uint32(maxRequests) {
		h.Send(mount(seq, "open "+path))
	}
	h.Send(mount(maxRequests, "plain"))
	wantDone(t, h, maxRequests, unix.EBUSY, 0, "too many disk requests under way (limit 8)")
	r.Do(func() { r.s.requests[0].Expired(nil) })
	wantDone(t, h, 0, unix.ETIMEDOUT, 0, "mount: connection timed out")
	open()
	for range maxRequests - 1 {
		typ, seq, payload := h.Next()
		if d, err := framing.ParseDone(payload); typ != framing.TypeDone || err != nil || d.Errno != uint32(unix.ENOENT) {
			t.Errorf("request %d: %v, errno %d %q, %v; want ENOENT", seq, typ, d.Errno, d.Reason, err)
		}
	}
	r.Until("no request is left", func() bool { return len(r.s.requests) == 0 })
	r.Do(r.disk.Hold)
	h.Send(disk(1, framing.DiskTrim, ""))
	wantDone(t, h, 1, unix.EBUSY, 0, "file system is frozen")
	r.Do(r.disk.Release)
	r.Do(r.s.Stop)
	h.Send(disk(2, framing.DiskShow, ""))
	wantDone(t, h, 2, unix.EBUSY, 0, "machine is going down")
}

// TestGone has a connection end with a trim and a mount under way. The trim stops, and the mount
// goes on.
func TestGone(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	trimming, _ := fifo(t)
	mounting, open := fifo(t)
	h.Send(disk(1, framing.DiskTrim, "open "+trimming))
	h.Send(mount(2, "open "+mounting))
	r.Until("both run", func() bool { return len(r.s.requests) == 2 })
	h.Close()
	r.Until("the trim has stopped", func() bool { return len(r.s.requests) == 1 && r.s.requests[0].job == mountJob })
	open()
	r.Until("the mount has ended", func() bool { return len(r.s.requests) == 0 })
}

// TestFigures has the figures of mounted disks.
func TestFigures(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.Do(func() {
		var f framing.Figures
		r.disk.Hold()
		r.s.AddFigures(&f)
		if f.Len() != 0 {
			t.Errorf("%d figures of a held disk, want 0", f.Len())
		}
		r.disk.Release()
		r.s.AddFigures(&f)
		for name, value := range f.All {
			if !strings.HasPrefix(string(name), "volume./") {
				t.Errorf("figure %s is %d, want volume.PATH", name, value)
			}
		}
	})
}
