package configure

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func set(e *entries, name, value string) error {
	return e.set(&framing.Secret{Kind: framing.SecretEnv, Name: []byte(name), Value: []byte(value)})
}

// TestEntries fills the entries, replaces them and removes them.
func TestEntries(t *testing.T) {
	t.Parallel()
	var e entries
	for i := range maxSecrets {
		if err := set(&e, "N"+sys.Num(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	// Neither dumped nor copied on fork; proc_pid_smaps(5).
	if flags := flagsOf(t, e.areas[0]); !strings.Contains(flags, " dd") || !strings.Contains(flags, " dc") {
		t.Errorf("the memory of an entry has the flags %q, want dd and dc", flags)
	}
	if err := set(&e, "ONE", ""); err != errTooMany {
		t.Errorf("one too many: %v, want %v", err, errTooMany)
	}
	if err := set(&e, "N0", "new"); err != nil || len(e.texts) != maxSecrets {
		t.Errorf("replacing one: %v, %d entries", err, len(e.texts))
	}
	e.remove("N1")
	e.remove("N1")
	if e.find("N1") >= 0 || e.find("N") >= 0 || len(e.texts) != maxSecrets-1 {
		t.Errorf("%d entries are left, want %d", len(e.texts), maxSecrets-1)
	}
	if err := set(&e, "BIG", strings.Repeat("x", maxEntries-e.bytes-len("BIG="))); err != nil {
		t.Errorf("an entry with all bytes that are left: %v", err)
	}
	if err := set(&e, "N2", "xy"); err == nil {
		t.Error("one byte too many was taken")
	}
	if err := set(&e, "BIG", "small"); err != nil {
		t.Errorf("an entry that replaces a longer one: %v", err)
	}
	area := e.areas[0]
	kept := sys.Alias(area)
	if kept[:2] != "N2" {
		t.Fatalf("the first entry is %q", kept[:8])
	}
	for len(e.texts) > 0 {
		e.drop(0)
	}
	if e.bytes != 0 || len(e.areas) != 0 {
		t.Errorf("%d bytes and %d areas are left", e.bytes, len(e.areas))
	}
}

// flagsOf returns the flags of a mapping.
func flagsOf(t *testing.T, area []byte) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(&area[0])))
	within := false
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			within = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && within {
			return flags
		}
	}
	t.Fatal("the mapping is not found")
	return ""
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, ".a": true, "a..": true, "": false, ".": false, "..": false, "..new": false, "a/b": false, "/": false,
	} {
		if got := isName(name); got != want {
			t.Errorf("isName(%q) = %v, want %v", name, got, want)
		}
	}
}

// TestFiles fills the file system, in a directory of the test instead.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := files{dir: dir}
	put := func(name string, size int) error {
		return s.set(&file{name: name, mode: 0o400, uid: unix.Geteuid(), gid: unix.Getegid()}, make([]byte, size))
	}
	if err := put("big", maxFiles); err != nil {
		t.Fatal(err)
	}
	if err := put("more", 1); err == nil {
		t.Error("one byte too many was taken")
	}
	if err := put("big", maxFiles-maxSecrets); err != nil {
		t.Errorf("replacing a file: %v", err)
	}
	for i := range maxSecrets - 1 {
		if err := put(sys.Num(i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("one", 0); err != errTooMany {
		t.Errorf("one too many: %v, want %v", err, errTooMany)
	}
	if err := put("0", 2); err != nil {
		t.Errorf("replacing a file: %v", err)
	}
	open := s.openContent("0")
	if err := s.remove("0"); err != nil {
		t.Error(err)
	}
	var b [4]byte
	// It was opened for writing, so it is read by another descriptor.
	again, err := unix.Open(sys.FDPath(open), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if n, err2 := unix.Read(again, b[:]); err != nil || err2 != nil || n != 2 || b != [4]byte{} {
		t.Errorf("a removed file reads as %q, %v, %v", b[:n], err, err2)
	}
	unix.Close(again)
	unix.Close(open)
	s.close()
	if s.bytes != 0 || s.dir != -1 {
		t.Errorf("%d bytes are left, directory %d", s.bytes, s.dir)
	}
}

// newRoom makes a service without options.
func newRoom(t *testing.T) (r *roomtest.Room, s *Service, done *[]bool) {
	t.Helper()
	done = new([]bool)
	r = roomtest.New(t, func(r *roomtest.Room) (end func()) {
		s = NewService(Config{
			Log: r.Log, Garbage: &r.Garbage, Server: r.Server, Env: &r.Env, Root: true,
			Apply: func(text []byte, wrong func(int, string)) {
				for i := range text {
					wrong(i+1, strings.Repeat("y", 3000))
				}
			},
			Done: func(complete bool) { *done = append(*done, complete) },
		})
		return s.Forget
	})
	return r, s, done
}

// TestPayload sends payloads of all sizes. A connection that is lost in the middle of one changes
// nothing.
func TestPayload(t *testing.T) {
	t.Parallel()
	r, s, done := newRoom(t)
	h := r.Dial()
	frame := func(value string) []byte {
		var list framing.Secrets
		list.Add(&framing.Secret{Kind: framing.SecretEnv, Name: []byte("A"), Value: []byte(value)})
		return framing.AppendConfigure(nil, 1, nil, list)
	}
	for _, size := range []int{0, 1, 65500, 65536, 100000} {
		h.Send(frame(strings.Repeat("v", size)))
		h.Want(framing.TypeFacts, 1)
		r.Do(func() {
			if got := len(s.Env.Secrets[0]); got != size+2 {
				t.Errorf("the entry has %d bytes, want %d", got, size+2)
			}
		})
	}
	lost := r.Dial()
	long := frame(strings.Repeat("w", 100000))
	lost.Send(long[:90000])
	lost.Close()
	r.Lost(1)
	r.Do(func() {
		if got := s.Env.Secrets[0]; strings.Contains(got, "w") {
			t.Error("a part of a payload has set a secret")
		}
		if len(*done) != 5 || (*done)[0] {
			t.Errorf("Done was called with %v, want false 5 times: they are about secrets alone", *done)
		}
		s.Forget()
		if s.Env.Secrets != nil || len(s.entries.texts) != 0 {
			t.Errorf("after Forget, there are %d secrets", len(s.entries.texts))
		}
	})
}

// TestFaults bounds an answer: each reason, and their number.
func TestFaults(t *testing.T) {
	t.Parallel()
	r, _, done := newRoom(t)
	h := r.Dial()
	h.Send(framing.AppendConfigure(nil, 1, make([]byte, 1000), framing.Secrets{}))
	facts, err := framing.ParseFacts(h.Want(framing.TypeFacts, 1))
	if err != nil || facts.Len() != maxFaults+1 {
		t.Fatalf("the answer has %d facts, %v, want %d", facts.Len(), err, maxFaults+1)
	}
	n := 0
	for name, value := range facts.All {
		if n++; n <= maxFaults && (string(name) != "line."+sys.Num(n) || len(value) != wire.MaxText) {
			t.Errorf("fact %d is %s with %d bytes", n, name, len(value))
		}
		if n > maxFaults && (string(name) != "more" || string(value) != sys.Num(1000-maxFaults)) {
			t.Errorf("the last fact is %s %s", name, value)
		}
	}
	h.Send(framing.AppendConfigure(nil, 2, nil, framing.Secrets{}))
	h.Want(framing.TypeFacts, 2)
	r.Do(func() {
		if len(*done) != 2 || (*done)[0] || !(*done)[1] {
			t.Errorf("Done was called with %v, want false and true", *done)
		}
	})
}
