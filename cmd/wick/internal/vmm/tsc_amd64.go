package vmm

import "time"

// rdtsc reads the processor's time stamp counter.
func rdtsc() uint64

// tscSample is how long the counter is measured. This gives its rate to about 10 parts in a
// million.
const tscSample = 20 * time.Millisecond

// MeasureTSC returns the rate of the host's time stamp counter in kHz. An emulated guest reads the
// same counter.
func MeasureTSC() int {
	start, from := time.Now(), rdtsc()
	time.Sleep(tscSample)
	to, took := rdtsc(), time.Since(start)
	return int(float64(to-from) / float64(took.Nanoseconds()) * 1e6)
}
