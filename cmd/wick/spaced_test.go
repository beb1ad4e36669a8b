package main

import (
	"slices"
	"strings"
	"testing"
)

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
