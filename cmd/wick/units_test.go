package main

import (
	"slices"
	"strings"
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
		got, err := parseSize(tt.text, tt.plain)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("parseSize(%q, %d) = %d, %v, want %d", tt.text, tt.plain, got, err, tt.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30": 30 * time.Second, "1.5": 1500 * time.Millisecond, "2m": 2 * time.Minute, "0": 0, "-1s": -time.Second} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "1.2.3", "5 m"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// TestSpaced joins optional values of wick run to a path after them, and nothing else.
func TestSpaced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"run --tmpfs /run alpine", "run --tmpfs=/run alpine"},
		{"run --tmpfs alpine /x", "run --tmpfs alpine /x"},
		{"run --tmpfs -- /x", "run --tmpfs -- /x"},
		{"run -it --tmpfs /a --tmpfs /b:size=1m -m 1G x --tmpfs /c", "run -it --tmpfs=/a --tmpfs=/b:size=1m -m 1G x --tmpfs /c"},
		{"run -e --tmpfs /x", "run -e --tmpfs /x"},
		{"run -eA --tmpfs /x", "run -eA --tmpfs=/x"},
		{"run -tie --tmpfs /x", "run -tie --tmpfs /x"},
		{"run --init alpine", "run --init alpine"},
		{"run --init ./vm-init -- x", "run --init=./vm-init -- x"},
		{"run --console /x", "run --console /x"},
		{"run --nosuch /x --tmpfs /y", "run --nosuch /x --tmpfs /y"},
		{"run --tmpfs", "run --tmpfs"},
		{"--to unix:/x run --tmpfs /x", "--to unix:/x run --tmpfs=/x"},
		{"exec --tmpfs /x", "exec --tmpfs /x"},
		{"exec run --tmpfs /x", "exec run --tmpfs /x"},
		{"nosuch --tmpfs /x", "nosuch --tmpfs /x"},
	} {
		root := (&tool{}).root()
		if got := spaced(root, strings.Fields(tt.args)); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("spaced(%q) = %q, want %q", tt.args, got, tt.want)
		}
	}
}
