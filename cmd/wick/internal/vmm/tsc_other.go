//go:build !amd64

package vmm

// MeasureTSC returns 0, because only an x86 machine has the counter.
func MeasureTSC() int { return 0 }
