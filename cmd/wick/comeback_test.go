package main

import (
	"testing"

	"wick/framing/client"
)

// TestComeBack checks the command line that wick prints for a command that it leaves running.
func TestComeBack(t *testing.T) {
	for _, tt := range []struct{ to, env, want string }{
		{"machine:web", "", "wick attach web 0000000000000000"},
		{"unix:/run/a b", "", "wick --to 'unix:/run/a b' attach 0000000000000000"},
		{"unix:/run/a", "unix:/run/a", "wick attach 0000000000000000"},
	} {
		t.Setenv("WICK_TO", tt.env)
		s := (&tool{to: tt.to}).newSession(&client.Cmd{}, false, false)
		if got := s.comeBack(); got != tt.want {
			t.Errorf("of %+v: %q, want %q", tt, got, tt.want)
		}
	}
}
