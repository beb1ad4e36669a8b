package units

import (
	"fmt"
	"time"
)

// ShortTime returns d in the form 4s, 3m12s, 5h02m or 12d.
func ShortTime(d time.Duration) string {
	switch s := int64(d / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd", s/86400)
	}
}

// ShortBytes returns n bytes in about three digits, with a unit of 1024.
func ShortBytes(n uint64) string {
	v, units := float64(n), "BKMGTPE"
	i := 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1024
	}
	switch {
	case i == 0:
		return fmt.Sprintf("%d", n)
	case v < 10:
		return fmt.Sprintf("%.1f%c", v, units[i])
	}
	return fmt.Sprintf("%.0f%c", v, units[i])
}
