package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// cyclesEnv says how many containers TestCycles makes, and then how many at once.
const cyclesEnv = "WICK_CYCLES"

// shimLimit limits the memory of a shim whose machine runs, in kB.
const shimLimit = 25 << 10

// memory returns a figure of a process's memory, in kB, or 0.
func memory(pid int, name string) (kB int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), name+":")
	fmt.Sscan(rest, &kB)
	return kB
}

// held returns how many descriptors and mounts containerd has, and how many files of tasks.
func (d *daemon) held() string {
	pid := d.process.Process.Pid
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	var files int
	for _, dir := range []string{d.dir + "/state"} {
		filepath.WalkDir(dir, func(string, os.DirEntry, error) error {
			files++
			return nil
		})
	}
	return fmt.Sprintf("%d descriptors, %d mounts, %d files", len(open), strings.Count(string(mounts), d.dir), files)
}

// TestCycles makes containers one after the other and then two or more at once. It checks that
// nothing is left of them, nor of a shim that ended with the host.
func TestCycles(t *testing.T) {
	d := containerd(t)
	cycles, atOnce := 1, 2
	if list := strings.Split(os.Getenv(cyclesEnv), ","); len(list) == 2 {
		cycles, _ = strconv.Atoi(list[0])
		atOnce, _ = strconv.Atoi(list[1])
	}
	dead := (&options{namespace: "default", address: d.dir + "/gone"}).place("gone")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, processName), []byte("2 1 "+dead+"/bundle\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cycle := func(id string) {
		if out := d.run(t, 0, testImage, id, "echo", id); out != id+"\n" {
			t.Errorf("%s: %q", id, out)
		}
		d.clean(t, id)
	}
	for i := range cycles {
		cycle("cycle" + strconv.Itoa(i))
		if cycles > 1 {
			t.Logf("cycle %d: containerd has %s, %d kB", i, d.held(), memory(d.process.Process.Pid, "VmRSS"))
		}
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("the directory of a shim that ended with the host: %v, want it removed", err)
	}
	t.Run("at once", func(t *testing.T) {
		var group sync.WaitGroup
		for i := range atOnce {
			id := "once" + strconv.Itoa(i)
			group.Go(func() {
				if out, errs, code := d.ctr(t, "", "run", "--runtime", runtimeName, "--rm", testImage, id, "echo", id); out != id+"\n" {
					t.Errorf("%s: %q %q, exit code %d", id, out, errs, code)
				}
			})
		}
		group.Wait()
		for i := range atOnce {
			d.clean(t, "once"+strconv.Itoa(i))
		}
	})
	if cycles > 1 {
		t.Logf("at the end containerd has %s, %d kB", d.held(), memory(d.process.Process.Pid, "VmRSS"))
	}
}

// TestAbandoned tells a place that nothing else removes from others.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for record, want := range map[string]bool{
		"2 1 " + dir + "/gone\n": true,
		"2 1 " + dir + "\n":      false, // a delete follows
		"2 1\n":                  false,
		"":                       false, // it is being started
	} {
		if err := os.WriteFile(filepath.Join(dir, processName), []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := abandoned(dir); got != want {
			t.Errorf("with the record %q: %v, want %v", record, got, want)
		}
	}
}
