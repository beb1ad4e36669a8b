//go:build !amd64

package vmm

// MeasureTSC returns 0: only an x86 machine has the counter.
func MeasureTSC() int { return 0 }
