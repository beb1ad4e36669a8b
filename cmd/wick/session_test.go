package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"wick/framing/client"
)

func TestParseLimit(t *testing.T) {
	for s, want := range map[string]client.Limit{
		"nofile=10":             {Resource: syscall.RLIMIT_NOFILE, Soft: 10, Hard: 10},
		"cpu=1:2":               {Resource: syscall.RLIMIT_CPU, Soft: 1, Hard: 2},
		"core=0:unlimited":      {Resource: syscall.RLIMIT_CORE, Hard: math.MaxUint64},
		"rttime=unlimited":      {Resource: 15, Soft: math.MaxUint64, Hard: math.MaxUint64},
		"nofile=-1":             {Resource: syscall.RLIMIT_NOFILE, Soft: math.MaxUint64, Hard: math.MaxUint64}, // docker's form
		"as=1000000:1000000000": {Resource: syscall.RLIMIT_AS, Soft: 1e6, Hard: 1e9},
	} {
		if got, err := parseLimit(s); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "nofile", "nofile=", "nofile=x", "nofile=2:1", "nofile=1:", "nofile=-2", "nosuch=1"} {
		if got, err := parseLimit(s); err == nil {
			t.Errorf("%q: got %+v", s, got)
		}
	}
}

func TestParseKeepAndSignal(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "1m": time.Minute, "forever": client.KeepForEver} {
		if got, err := parseTime("--keep", s); err != nil || got != want {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]syscall.Signal{"TERM": 15, "sigkill": 9, "64": 64, "0": 0, "usr1": 10, "SIGRTMIN+3": 37, "rtmin": 34, "RTMAX-1": 63} {
		if got, err := parseSignal(s); err != nil || got != want {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "65", "-1", "NOSUCH", "RTMIN+31", "RTMAX+1", "RTMIN-1"} {
		if got, err := parseSignal(s); err == nil {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestModeText(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o644: "-rw-r--r--", fs.ModeDir | fs.ModeSticky | 0o777: "drwxrwxrwt", fs.ModeSymlink | 0o777: "lrwxrwxrwx",
		fs.ModeSetuid | 0o755: "-rwsr-xr-x", fs.ModeSetgid | 0o640: "-rw-r-S---", fs.ModeDevice | 0o660: "brw-rw----",
		fs.ModeDevice | fs.ModeCharDevice | 0o600: "crw-------", fs.ModeNamedPipe: "p---------", fs.ModeSocket: "s---------",
	} {
		if got := modeString(mode); got != want {
			t.Errorf("%v: got %s, want %s", mode, got, want)
		}
	}
}

// TestUnpackStaysInside whatever a guest sends.
func TestUnpackStaysInside(t *testing.T) {
	outside := t.TempDir()
	for name, entries := range map[string][]tar.Header{
		"dots":                {{Name: "a/../../x", Typeflag: tar.TypeReg}},
		"a link out":          {{Name: "l", Typeflag: tar.TypeLink, Linkname: "../x"}},
		"through a link":      {{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "s/x", Typeflag: tar.TypeReg}},
		"a directory through": {{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "s/x/", Typeflag: tar.TypeDir}},
		"a mode through":      {{Name: "s", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "s/", Typeflag: tar.TypeDir, Mode: 0}},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for _, h := range entries {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		if err := client.UnpackDir(&archive, filepath.Join(t.TempDir(), "to"), client.TarOptions{NoOwner: true}); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	if i, err := os.Stat(outside); err != nil || i.Mode().Perm() == 0 {
		t.Errorf("outside is %v, %v", i.Mode(), err)
	}
}

// TestPackLeavesOut what no guest can be given, and says so.
func TestPackLeavesOut(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(syscall.Mknod(filepath.Join(dir, "sock"), syscall.S_IFSOCK|0o600, 0), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o640),
		os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	var notes []string
	if err := client.PackDir(&archive, dir, client.TarOptions{NoOwner: true, Note: func(name, s string) { notes = append(notes, name+": "+s) }}); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || notes[0] != filepath.Join(dir, "sock")+": left out: it is a socket" {
		t.Errorf("notes %q", notes)
	}
	to := filepath.Join(t.TempDir(), "to")
	if err := client.UnpackDir(&archive, to, client.TarOptions{NoOwner: true}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "f")); err != nil || string(b) != "x" {
		t.Errorf("got %q, %v", b, err)
	}
	if i, err := os.Lstat(filepath.Join(to, "pipe")); err != nil || i.Mode() != fs.ModeNamedPipe|0o640 {
		t.Errorf("the FIFO is %v, %v", i, err)
	}
}
