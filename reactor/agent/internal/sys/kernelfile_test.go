package sys

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFigures(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	const text = "MemTotal:       130864 kB\noom_kill 3\npopulated 0\nName:\tsh\nVmRSS:\t    2048 kB\n\nalone\nhuge 18446744073709551616\nlast 18446744073709551615"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"MemTotal": 130864, "oom_kill": 3, "populated": 0, "VmRSS": 2048, "last": 1<<64 - 1}
	found := 0
	err := ReadFigures(unix.AT_FDCWD, path, make([]byte, 4096), func(name string, value uint64) {
		found++
		if v, ok := want[name]; !ok || v != value {
			t.Errorf("%s %d", name, value)
		}
	})
	if err != nil || found != len(want) {
		t.Errorf("%d figures of %d, %v", found, len(want), err)
	}
	if n := ReadFigure(unix.AT_FDCWD, path, "oom_kill", make([]byte, 4096)); n != 3 {
		t.Errorf("oom_kill is %d", n)
	}
	for name, want := range map[string]uint64{
		"MemTotal": 130864, "oom_kill": 3, "oom": 0, "alone": 0, "last": 1<<64 - 1, "none": 0,
	} {
		if got := Figure(text, name); got != want {
			t.Errorf("Figure(%q) = %d, want %d", name, got, want)
		}
	}
	if err := ReadFigures(unix.AT_FDCWD, path+"-", nil, nil); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestTakeHundredths(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		n    uint64
		rest string
		ok   bool
	}{
		"0.00":        {0, "", true},
		" 12.34 0.01": {1234, " 0.01", true},
		"100.00":      {10000, "", true},
		"1.5":         {0, "1.5", false},
		"1,50":        {0, "1,50", false},
		"":            {0, "", false},
		".50":         {0, ".50", false},
	} {
		if n, rest, ok := TakeHundredths(text); n != want.n || rest != want.rest || ok != want.ok {
			t.Errorf("%q: %d, %q, %v", text, n, rest, ok)
		}
	}
}
