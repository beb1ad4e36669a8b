package contain

import (
	"testing"
)

// TestUsageWithoutEarlier holds that usage is 0 if it has decreased, as after a reclaim.
func TestUsageWithoutEarlier(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ a, b, want uint64 }{{5, 3, 2}, {3, 5, 0}, {4, 4, 0}} {
		if got := above(tt.a, tt.b); got != tt.want {
			t.Errorf("above(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
