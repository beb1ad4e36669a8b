package contain

import (
	"testing"
)

// TestCommandMemory holds the limits that commandMemory computes.
func TestCommandMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct {
		name                        string
		current, outside, was, want uint64
	}{
		{"a small machine", 0, 16 * mib, 99 * mib, 10 * mib},
		{"a usual machine", 0, 56 * mib, 40 * mib, 45 * mib},
		{"the same, in use", 40 * mib, 16 * mib, 50 * mib, 45 * mib},
		{"a large machine", 0, 4096 * mib, 99 * mib, 4064 * mib},
		{"hardly any memory", 0, 4 * mib, 99 * mib, 2 * mib},
		{"memory that was not charged is gone, and commands are at their limit", 45 * mib, 4 * mib, 45 * mib, 45 * mib},
		{"a balloon took it", 40 * mib, 0, 45 * mib, 41 * mib},
	} {
		if got := commandMemory(tt.current, tt.outside, tt.was); got != tt.want {
			t.Errorf("%s: commandMemory(%d, %d, %d MiB) = %d MiB, want %d", tt.name, tt.current/mib, tt.outside/mib, tt.was/mib, got/mib, tt.want/mib)
		}
	}
}
