package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"wick/framing"
)

// large is the size of the long outputs and files in bytes, which one frame can hold.
const large = 15 << 20

// longOutput is a command that prints large bytes.
var longOutput = "head -c " + strconv.Itoa(large) + " /dev/zero"

// BenchmarkPing measures the round trip with both ends on one CPU, so only the agent and the
// kernel. Waking another CPU would take longer than both.
func BenchmarkPing(b *testing.B) {
	each(b, func(b *testing.B, a *agent) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		h := dial(b, a)
		defer a.pin(b)()
		ping := pings(1)
		latencies(b, func() { h.ask(b, ping, framing.TypePong) })
	})
}

// BenchmarkPipelined sends pings in batches and reads as many pongs, with both ends on one CPU.
func BenchmarkPipelined(b *testing.B) {
	for _, n := range []int{64, 1024} {
		b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
			each(b, func(b *testing.B, a *agent) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				h := dial(b, a)
				defer a.pin(b)()
				batch := pings(n)
				for b.Loop() {
					if err := h.write(batch); err != nil {
						b.Fatal(err)
					}
					if err := h.fill(len(batch)); err != nil {
						b.Fatal(err)
					}
					h.buf = nil
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "pings/s")
			})
		})
	}
}

// BenchmarkExec measures a command that does nothing.
func BenchmarkExec(b *testing.B) {
	each(b, func(b *testing.B, a *agent) {
		h := dial(b, a)
		exec := execFrame("true")
		latencies(b, func() { h.ask(b, exec, framing.TypeExecResult) })
	})
}

// BenchmarkExecs keeps commands in flight.
func BenchmarkExecs(b *testing.B) {
	for _, n := range []int{8, 64} {
		b.Run("n="+strconv.Itoa(n), func(b *testing.B) {
			each(b, func(b *testing.B, a *agent) {
				h := dial(b, a)
				exec := execFrame("true")
				for range n {
					h.write(exec)
				}
				for b.Loop() {
					h.reply(b, framing.TypeExecResult)
					h.write(exec)
				}
				for range n {
					h.reply(b, framing.TypeExecResult)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "execs/s")
			})
		})
	}
}

// BenchmarkStdout measures a command with a large output, which the agent may write to a file
// first.
func BenchmarkStdout(b *testing.B) {
	for _, place := range places {
		b.Run("on="+place.name, func(b *testing.B) {
			eachIn(b, place.dir, func(b *testing.B, a *agent) {
				h := dial(b, a)
				exec := execFrame(longOutput)
				b.SetBytes(large)
				for b.Loop() {
					if p := h.ask(b, exec, framing.TypeExecResult); len(p) != 12+large {
						b.Fatalf("payload of %d bytes", len(p))
					}
				}
			})
		})
	}
}

// BenchmarkWrite writes a large file and a small one. Both ends are on one CPU for a small one, as
// in BenchmarkPing.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{4 << 10, large} {
		for _, place := range places {
			b.Run("size="+strconv.Itoa(size)+"/on="+place.name, func(b *testing.B) {
				each(b, func(b *testing.B, a *agent) {
					path := filepath.Join(place.dir, "wick-bench-file-"+strconv.Itoa(os.Getpid()))
					defer os.Remove(path)
					h := dial(b, a)
					if size < large {
						runtime.LockOSThread()
						defer runtime.UnlockOSThread()
						defer a.pin(b)()
					}
					frame := fileFrame(path, size)
					b.SetBytes(int64(size))
					latencies(b, func() {
						if p := h.ask(b, frame, framing.TypeWriteFileResult); p[0] != 1 {
							b.Fatalf("%q", p)
						}
					})
				})
			})
		}
	}
}

// BenchmarkPingDuringExec measures the round trip while a command sleeps.
func BenchmarkPingDuringExec(b *testing.B) {
	each(b, func(b *testing.B, a *agent) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		h := dial(b, a)
		defer a.pin(b)()
		other := dial(b, a)
		other.write(execFrame("sleep 60"))
		ping := pings(1)
		latencies(b, func() { h.ask(b, ping, framing.TypePong) })
	})
}
