package sysinit

import (
	"math"
	"strconv"
	"testing"
)

func TestParseUint(t *testing.T) {
	t.Parallel()
	texts := []string{"", "0", "7", "8", "9", "a", "/", ":", "-1", "+1", " 1", "1 ", "1_0", "007",
		"755", "4095", "4096", "255", "256", "4294967295", "4294967296", "18446744073709551615",
		"18446744073709551616", "99999999999999999999", "\xff"}
	for _, base := range []int{8, 10} {
		for _, bits := range []int{8, 12, 32, 62, 64} {
			most := uint64(math.MaxUint64) >> (64 - bits)
			for _, text := range texts {
				want, err := strconv.ParseUint(text, base, bits)
				if err != nil {
					want = 0
				}
				if got, ok := parseUint(text, uint64(base), most); got != want || ok != (err == nil) {
					t.Errorf("parseUint(%q, %d, %d) = %d, %t; want %d, %t", text, base, most, got, ok,
						want, err == nil)
				}
			}
		}
	}
}
