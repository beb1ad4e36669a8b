package bench

import (
	"os"
	"testing"
	"time"

	"wick/framing"
)

// BenchmarkFootprint reports what an agent is when it does nothing, and after some work. It has no speed.
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
		b.ReportMetric(a.status(b, "VmRSS"), "idle-RSS-kB")
		b.ReportMetric(a.status(b, "RssAnon"), "idle-anon-kB")
		before := a.switches(b)
		time.Sleep(3 * time.Second) // the measurement itself: how often it wakes in this time
		b.ReportMetric(float64(a.switches(b)-before), "idle-switches")
		h := dial(b, a)
		for range 500 {
			h.ask(b, execFrame("echo x"), framing.TypeExecResult)
		}
		h.ask(b, execFrame("head -c 15728640 /dev/zero"), framing.TypeExecResult)
		b.ReportMetric(a.status(b, "VmRSS"), "worked-RSS-kB")
		b.ReportMetric(a.status(b, "Threads"), "threads")
	})
}
