package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStore returns an empty store of the test.
func newStore(t *testing.T) Store {
	t.Helper()
	dir := t.TempDir()
	s := Store{dir: filepath.Join(dir, "run"), disks: filepath.Join(dir, "machines")}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes a machine with that name.
func create(t *testing.T, s Store, name string) *Machine {
	t.Helper()
	m, err := s.Create(&State{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// status returns the status of the machine that has that name.
func status(t *testing.T, s Store, name string) Status {
	t.Helper()
	m, err := s.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	state, err := m.State()
	if err != nil {
		t.Fatal(err)
	}
	return state.Status
}

// TestTruth has the store tell a machine that runs from one whose supervisor was killed.
func TestTruth(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	state, _ := m.State()
	state.Status = Running
	if err := m.Save(state); err != nil {
		t.Fatal(err)
	}
	if got := status(t, s, "web"); got != Running {
		t.Errorf("while it is held it is %s, want %s", got, Running)
	}
	other, err := s.Find(m.ID[:4])
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Hold(); !errors.Is(err, ErrBusy) {
		t.Errorf("a second holder got %v, want ErrBusy", err)
	}
	m.Release() // as the kernel does when the supervisor is killed
	if got := status(t, s, "web"); got != Lost {
		t.Errorf("without its supervisor it is %s, want %s", got, Lost)
	}
	if _, err := other.Call(t.Context(), Request{Op: OpStop}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a request got %v, want ErrNotRunning", err)
	}
	if err := other.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := other.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("web"); !errors.Is(err, ErrUnknown) {
		t.Errorf("after it was removed: %v, want ErrUnknown", err)
	}
	if _, err := os.Stat(s.DiskDir(m.ID)); err == nil {
		t.Error("its disk is left")
	}
}

// TestNames has each name lead to one machine.
func TestNames(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	web := create(t, s, "web")
	if _, err := s.Create(&State{Name: "web"}); !isTaken(err) {
		t.Errorf("a name twice: %v", err)
	}
	for _, name := range []string{"-a", "a/b", "..", "a b", strings.Repeat("x", 64)} {
		if _, err := s.Create(&State{Name: name}); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	db := create(t, s, "db")
	if err := db.Rename("web"); !isTaken(err) {
		t.Errorf("a rename to a taken name: %v", err)
	}
	if err := db.Rename("cache"); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Find("cache"); err != nil || m.ID != db.ID {
		t.Errorf("the new name: %v", err)
	}
	if _, err := s.Find("db"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the old name: %v, want ErrUnknown", err)
	}
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	create(t, s, "web")
	create(t, s, "")
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Errorf("%d machines, want 3: %v", len(list), err)
	}
}

func isTaken(err error) bool {
	_, ok := errors.AsType[*TakenError](err)
	return ok
}

// TestReboot has disks removed whose machine is gone with the directory of machines.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	old := time.Now().Add(-time.Hour)
	disk := s.DiskDir(m.ID)
	if err := os.Chtimes(disk, old, old); err != nil {
		t.Fatal(err)
	}
	create(t, s, "stays")
	if _, err := os.Stat(disk); err != nil {
		t.Errorf("the disk of a machine that is there: %v", err)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
	create(t, s, "web2")
	if _, err := os.Stat(disk); err == nil {
		t.Error("the disk of a machine that is gone is left")
	}
	create(t, s, "web") // the name leads nowhere
}

// TestWait returns the last state once the supervisor is gone.
func TestWait(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "job")
	ended := make(chan error, 1)
	go func() {
		m, err := s.Find("job")
		var state *State
		if err == nil {
			state, err = m.Wait(t.Context())
		}
		if err == nil && (state.Status != Stopped || state.ExitCode != 7) {
			err = fmt.Errorf("got %+v", state)
		}
		ended <- err
	}()
	state, _ := m.State()
	state.Status, state.ExitCode, state.Ended = Stopped, 7, time.Now()
	if err := m.Save(state); err != nil {
		t.Fatal(err)
	}
	m.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestControl passes requests on, and their errors back.
func TestControl(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	paused, gone := make(chan struct{}), make(chan struct{})
	asked, ended := make(chan struct{}), make(chan struct{})
	server, err := m.Serve(func(ctx context.Context, r Request) error {
		switch {
		case r.Op == OpStop && r.Signal == int(syscall.SIGINT) && r.Grace == 3*time.Second:
			return nil
		case r.Op == OpPause:
			close(paused)
			<-ctx.Done() // the asking process goes away
			close(gone)
		case r.Op == OpWait:
			close(asked)
			<-ended
			return nil
		}
		return errors.New("unknown request")
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Call(t.Context(), Request{Op: OpStop, Signal: 2, Grace: 3 * time.Second}); err != nil {
		t.Error(err)
	}
	if _, err := other.Call(t.Context(), Request{Op: "x"}); err == nil || err.Error() != "x web: unknown request" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan error, 1)
	go func() { _, err := other.Call(ctx, Request{Op: OpPause}); called <- err }()
	<-paused
	cancel()
	if err := <-called; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	<-gone
	// A process that waits is told the last state, also of a machine that is removed.
	waited := make(chan error, 1)
	go func() {
		last, err := other.Wait(t.Context())
		if err == nil && last.ExitCode != 5 {
			err = fmt.Errorf("got %+v", last)
		}
		waited <- err
	}()
	<-asked
	close(ended)
	server.Close(&State{ExitCode: 5})
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// lines returns the text of the log that o selects.
func lines(t *testing.T, m *Machine, o LogOptions) string {
	t.Helper()
	var all strings.Builder
	err := m.Logs(t.Context(), o, func(l Line) error {
		if l.Stderr {
			all.WriteString("E:")
		}
		all.Write(l.Text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestJournal(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	if got := lines(t, m, LogOptions{Tail: -1}); got != "" {
		t.Errorf("before there is a log: %q", got)
	}
	j, err := m.OpenJournal()
	if err != nil {
		t.Fatal(err)
	}
	out, errs := j.Output(false), j.Output(true)
	out.Write([]byte("one\ntw"))
	errs.Write([]byte("bad\n"))
	out.Write([]byte("o\n"))
	before := time.Now()
	out.Write([]byte("\x00\xff rest"))
	if got := lines(t, m, LogOptions{Tail: -1}); got != "one\nE:bad\ntwo\n" {
		t.Errorf("got %q", got)
	}
	out.Close()
	for o, want := range map[LogOptions]string{
		{Tail: -1}:                "one\nE:bad\ntwo\n\x00\xff rest",
		{Tail: 2}:                 "two\n\x00\xff rest",
		{Tail: 0}:                 "",
		{Tail: -1, Since: before}: "\x00\xff rest",
		{Tail: 1, Until: before}:  "two\n",
	} {
		if got := lines(t, m, o); got != want {
			t.Errorf("%+v: got %q, want %q", o, got, want)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestJournalBound follows a log that is replaced again and again, and loses no line of it.
func TestJournalBound(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	j, err := m.OpenJournal()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", longestEntry-1) + "\n"
	const count = 3 * maxLog / longestEntry
	const batch = maxLog / longestEntry / 4 // which the follower sees before the log is replaced twice
	seen := make(chan int, count)
	followed := make(chan error, 1)
	go func() {
		n := 0
		m, err := s.Find("web")
		if err == nil {
			err = m.Logs(t.Context(), LogOptions{Tail: -1, Follow: true}, func(Line) error {
				n++
				seen <- n
				return nil
			})
		}
		close(seen)
		followed <- err
	}()
	out := j.Output(false)
	for n := range count {
		out.Write([]byte(long))
		for i := n + 1 - batch; (n+1)%batch == 0 && i <= n; i++ {
			if got := <-seen; got != i+1 {
				t.Fatalf("line %d came after %d", got, i)
			}
		}
	}
	m.Release()
	if _, more := <-seen; more {
		t.Error("a line too many")
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"log", "log.old"} {
		if info, err := os.Stat(m.Path(name)); err != nil || info.Size() > maxLog {
			t.Errorf("%s: %v, %v", name, info.Size(), err)
		}
	}
}
