//go:build linux

package main

import (
	"slices"
	"testing"

	"wick/cmd/wick/internal/keeper"
)

// TestPublish checks the forms of -p, those of wick forward and docker's.
func TestPublish(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want []string // ends of the host and of the guest in turn, or nothing for an error
	}{
		{"8080:80", []string{"127.0.0.1:8080", "localhost:80"}},
		{"8080:80/tcp", []string{"127.0.0.1:8080", "localhost:80"}},
		{"0.0.0.0:8080:80/tcp", []string{"0.0.0.0:8080", "localhost:80"}},
		{"127.0.0.1::80", []string{"127.0.0.1:0", "localhost:80"}},
		{"127.0.0.1::80/tcp", []string{"127.0.0.1:0", "localhost:80"}},
		{"[::1]::80", []string{"[::1]:0", "localhost:80"}},
		{"[::1]:8080:80", []string{"[::1]:8080", "localhost:80"}},
		{"80", []string{"127.0.0.1:80", "localhost:80"}},
		{"8080:unix:/run/app-1-2.sock", []string{"127.0.0.1:8080", "unix:/run/app-1-2.sock"}},
		{"7000-7001:80-81", []string{"127.0.0.1:7000", "localhost:80", "127.0.0.1:7001", "localhost:81"}},
		{"0.0.0.0:7000-7001:80-81/tcp", []string{"0.0.0.0:7000", "localhost:80", "0.0.0.0:7001", "localhost:81"}},
		{"80-81", []string{"127.0.0.1:80", "localhost:80", "127.0.0.1:81", "localhost:81"}},
		{"7000:80-81", nil},
		{"7000-7002:80-81", nil},
		{"7001-7000:81-80", nil},
		{"7000-7001:80", nil},
		{"1-70000:1-70000", nil},
		{"53:53/udp", nil},
		{"::", nil},
		{"::1::80", nil},
	} {
		forwards, err := parsePublish(tt.in)
		var got []string
		for _, f := range forwards {
			got = append(got, f.from.String(), f.to.String())
		}
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("parsePublish(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

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
