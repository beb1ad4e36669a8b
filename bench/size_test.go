package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"wick/framing"
)

// BenchmarkFootprint reports the size of an idle agent and the growth of its peak in the largest
// requests. It also reports its size after everything that the other benchmarks do. It has no
// speed.
func BenchmarkFootprint(b *testing.B) {
	each(b, func(b *testing.B, a *agent) {
		for b.Loop() {
		}
		info, err := os.Stat(a.binary)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
		switches, cpu := idle(b, a)
		b.ReportMetric(float64(switches), "idle-switches")
		b.ReportMetric(float64(cpu.Microseconds()), "idle-cpu-us")
		b.ReportMetric(a.status(b, "VmRSS"), "idle-RSS-kB")
		b.ReportMetric(a.status(b, "RssAnon"), "idle-anon-kB")
		threads := a.status(b, "Threads")

		h := dial(b, a)
		// a small one loads the pages of the program, which do not depend on the size
		h.ask(b, execFrame("true"), framing.TypeExecResult)
		h.ask(b, fileFrame(file(), 1), framing.TypeWriteFileResult)
		b.ReportMetric(a.peak(b, func() { h.ask(b, execFrame(longOutput), framing.TypeExecResult) }), "stdout-grown-kB")
		frame := fileFrame(file(), large)
		b.ReportMetric(a.peak(b, func() { h.ask(b, frame, framing.TypeWriteFileResult) }), "write-grown-kB")
		work(b, h)
		b.ReportMetric(a.status(b, "VmRSS"), "worked-RSS-kB")
		b.ReportMetric(max(threads, a.status(b, "Threads")), "threads")
	})
}

// BenchmarkInit reports the size of vm-init, which has nothing to compare with.
func BenchmarkInit(b *testing.B) {
	b.Run("agent=wick", func(b *testing.B) {
		binary := filepath.Join(dir(), "vm-init")
		if out, err := exec.Command("../scripts/build", "-o", binary, "amd64", "wick/cmd/vm-init").CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		info, err := os.Stat(binary)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
	})
}

// idle returns what an agent does in three seconds without a request. The first window includes the
// rest of the start. A window that the rest of the machine interrupts is repeated.
func idle(b testing.TB, a *agent) (switches int, cpu time.Duration) {
	const window, tries = 3 * time.Second, 4
	for range tries {
		s, c := a.switches(b), a.cpu(b)
		time.Sleep(window) // the measurement itself
		switches, cpu = a.switches(b)-s, a.cpu(b)-c
		if switches == 0 && cpu == 0 {
			break
		}
	}
	return switches, cpu
}

// work makes requests of every kind.
func work(b testing.TB, h *host) {
	batch := pings(1024)
	for range 20 {
		if err := h.write(batch); err != nil {
			b.Fatal(err)
		}
		if err := h.fill(len(batch)); err != nil {
			b.Fatal(err)
		}
		h.buf = nil
	}
	exec := execFrame("echo x")
	for range 200 {
		h.ask(b, exec, framing.TypeExecResult)
	}
	for range 4 {
		for range 64 {
			h.write(exec)
		}
		for range 64 {
			h.reply(b, framing.TypeExecResult)
		}
	}
	h.ask(b, execFrame(longOutput), framing.TypeExecResult)
	for _, size := range []int{4 << 10, large} {
		h.ask(b, fileFrame(file(), size), framing.TypeWriteFileResult)
	}
}

// file is a file that an agent writes.
func file() string { return filepath.Join(dir(), "file") }

// fileFrame returns the request that writes a file of that size.
func fileFrame(path string, size int) []byte {
	w := framing.WriteFile{Path: []byte(path), Size: size}
	return append(framing.AppendWriteFileHead(nil, 1, &w), make([]byte, size)...)
}

// BenchmarkStart measures the time from the start of a program to its ready. The host asks all the
// time, so it has a CPU of its own.
func BenchmarkStart(b *testing.B) {
	each(b, func(b *testing.B, a *agent) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer runOn(0)()
		var took []time.Duration
		for b.Loop() {
			a.stop()
			os.Remove(a.socket)
			undo := runOn(1)
			at := time.Now()
			a.run(b, nil)
			undo()
			for {
				h, err := connect(a.socket)
				if err == nil {
					took = append(took, time.Since(at))
					h.close()
					break
				}
				if time.Since(at) > 10*time.Second {
					b.Fatalf("%s is not ready: %v", a.name, err)
				}
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	})
}
