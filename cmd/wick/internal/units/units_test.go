package units

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		plain int64
		want  int64 // -1 for an error
	}{
		{"128M", 1, 128 << 20}, {"128m", 1, 128 << 20}, {"1.5G", 1, 3 << 29}, {"64MiB", 1, 64 << 20}, {"512kb", 1, 512 << 10}, {"7b", 1, 7}, {"1t", 1, 1 << 40},
		{"256", 1 << 20, 256 << 20}, {"256", 1, 256}, {" 2 g ", 1, 2 << 30}, {"0", 1, 0},
		{"", 1, -1}, {"M", 1, -1}, {"-1M", 1, -1}, {"1x", 1, -1}, {"1bb", 1, -1}, {"1mm", 1, -1}, {"inf", 1, -1}, {"1e3M", 1, -1}, {"99999999999T", 1, -1}, {"nan", 1, -1},
	} {
		got, err := ParseSize(tt.text, tt.plain)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("ParseSize(%q, %d) = %d, %v, want %d", tt.text, tt.plain, got, err, tt.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30": 30 * time.Second, "1.5": 1500 * time.Millisecond, "2m": 2 * time.Minute, "0": 0, "-1s": -time.Second} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "1.2.3", "5 m"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestShortForms(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1.0K", 1 << 20: "1.0M", 15 << 20: "15M", 999 << 20: "999M", 1 << 40: "1.0T"} {
		if got := ShortBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 2 * time.Hour: "2h00m", 72 * time.Hour: "3d"} {
		if got := ShortTime(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
