//go:build linux

package main

import (
	"testing"

	"wick/cmd/wick/internal/keeper"
)

// TestFilters checks which machines a list has.
func TestFilters(t *testing.T) {
	t.Parallel()
	m := &keeper.State{
		ID: "5f3a00000000", Name: "web-1", Image: "python:3-slim", Status: keeper.Stopped,
		Labels: map[string]string{"tier": "front", "empty": ""},
	}
	for _, tt := range []struct {
		filters []string
		want    bool
	}{
		{nil, true},
		{[]string{"name=web"}, true},
		{[]string{"name=db"}, false},
		{[]string{"name=db", "name=web"}, true},
		{[]string{"id=5f3a"}, true},
		{[]string{"id=3a"}, false},
		{[]string{"image=python"}, true},
		{[]string{"ancestor=python:3-slim"}, true},
		{[]string{"status=stopped"}, true},
		{[]string{"status=exited"}, true},
		{[]string{"status=running"}, false},
		{[]string{"label=tier"}, true},
		{[]string{"label=tier=front"}, true},
		{[]string{"label=tier=front", "label=empty="}, true},
		{[]string{"label=tier=front", "label=tier=back"}, false},
		{[]string{"label=none"}, false},
		{[]string{"name=web", "status=running"}, false},
	} {
		filters, err := (&machineFlags{filters: tt.filters}).parse()
		if got := matches(m, filters); err != nil || got != tt.want {
			t.Errorf("matches by %q = %v, %v, want %v", tt.filters, got, err, tt.want)
		}
	}
}
