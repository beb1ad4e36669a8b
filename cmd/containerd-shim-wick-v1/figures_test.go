package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var rounds = flag.Int("shim.rounds", 0, "how often TestFigures measures")

// atOnceFigure is how many machines TestFigures starts at once.
const atOnceFigure = 10

// TestFigures measures containers of this runtime beside those of runc in the same containerd, and
// beside wick run. It prints lines like go test's benchmarks, for scripts/bench. The floor is runc.
// Without -shim.rounds it does nothing.
func TestFigures(t *testing.T) {
	if *rounds == 0 {
		t.Skip("measures for minutes: scripts/bench gives it -shim.rounds")
	}
	d := containerd(t)
	wick := buildWick(t, d)
	runc := needRunc(t, d)
	wickRun := func() {
		out, err := exec.Command(wick, "run", "--memory", "256M", "oci:"+d.dir+"/box", "true").CombinedOutput()
		if err != nil {
			t.Fatalf("wick run: %v\n%s", err, out)
		}
	}
	number := 0
	run := func(runtime string) {
		number++
		args := []string{"run", "--rm", "--runtime", runtime, testImage, "figure" + strconv.Itoa(number), "true"}
		if out, errs, code := d.ctr(t, "", args...); code != 0 {
			t.Errorf("ctr %q: exit code %d: %q %q", args, code, out, errs)
		}
	}
	// The first ones convert the image.
	wickRun()
	run(runtimeName)
	for range *rounds {
		beside := took(wickRun)
		own := took(func() { run(runtimeName) })
		line("Run", "wick", own.Seconds()*1e3, "ms")
		line("Run", "wick", float64(own)/float64(beside), "of-wick-run")
		if runc {
			line("Run", "floor", took(func() { run("io.containerd.runc.v2") }).Seconds()*1e3, "ms")
		}
		line("AtOnce", "wick", took(func() { startAtOnce(t, d) }).Seconds(), "s")
		idle(t, d)
		removeAll(t, d)
	}
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func line(name, agent string, figure float64, unit string) {
	fmt.Printf("BenchmarkContainer%s/agent=%s 1 %g %s\n", name, agent, figure, unit)
}

// startAtOnce starts machines that run on.
func startAtOnce(t *testing.T, d *daemon) {
	var group sync.WaitGroup
	for i := range atOnceFigure {
		group.Go(func() {
			args := []string{"run", "-d", "--runtime", runtimeName, testImage, "idle" + strconv.Itoa(i), "sleep", "1000000"}
			if out, errs, code := d.ctr(t, "", args...); code != 0 {
				t.Errorf("ctr %q: exit code %d: %q %q", args, code, out, errs)
			}
		})
	}
	group.Wait()
}

// idle measures the memory of the machines that run, each with its share of what processes share.
func idle(t *testing.T, d *daemon) {
	t.Helper()
	var rss, anon, shims, monitors float64
	for i := range atOnceFigure {
		id := "idle" + strconv.Itoa(i)
		shim, monitor := d.program(id, true), d.program(id, false)
		if shim == 0 || monitor == 0 {
			t.Fatalf("%s does not run", id)
		}
		rss += float64(memory(shim, "VmRSS"))
		anon += float64(memory(shim, "RssAnon"))
		shims += proportional(t, shim)
		monitors += proportional(t, monitor)
	}
	line("Idle", "wick", rss/atOnceFigure, "shim-RSS-kB")
	line("Idle", "wick", anon/atOnceFigure, "shim-anon-kB")
	line("Idle", "wick", shims/atOnceFigure, "shim-PSS-kB")
	line("Idle", "wick", monitors/atOnceFigure, "monitor-PSS-kB")
}

// proportional returns the memory of a process in kB, with its share of shared pages.
func proportional(t *testing.T, pid int) (kB float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nPss:")
	fmt.Sscan(rest, &kB)
	return kB
}

func removeAll(t *testing.T, d *daemon) {
	t.Helper()
	for i := range atOnceFigure {
		id := "idle" + strconv.Itoa(i)
		d.ctr(t, "", "task", "rm", "-f", id)
		d.must(t, "container", "rm", id)
		d.clean(t, id)
	}
}

// buildWick builds wick beside vm-init, and unpacks the image for it.
func buildWick(t *testing.T, d *daemon) string {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", d.bin, "wick/cmd/wick")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build wick: %v\n%s", err, out)
	}
	unpack := fmt.Sprintf("mkdir -p %[1]s/box && tar -xf %[1]s/box.tar -C %[1]s/box", d.dir)
	if out, err := exec.Command("sh", "-c", unpack).CombinedOutput(); err != nil {
		t.Fatalf("unpack the image: %v\n%s", err, out)
	}
	return filepath.Join(d.bin, "wick")
}

// needRunc puts runc's shim beside containerd, which looks for it in its PATH. It reports whether
// this host has it, and runc.
func needRunc(t *testing.T, d *daemon) bool {
	t.Helper()
	const shim = "containerd-shim-runc-v2"
	theirs, err := filepath.EvalSymlinks(filepath.Join(d.bin, "containerd"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(theirs), shim))
	if _, missing := exec.LookPath("runc"); err != nil || missing != nil {
		t.Logf("no figures of runc: %v", errors.Join(err, missing))
		return false
	}
	err = os.Symlink(filepath.Join(filepath.Dir(theirs), shim), filepath.Join(d.bin, shim))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return true
}
