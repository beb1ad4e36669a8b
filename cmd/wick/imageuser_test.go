//go:build linux

package main

import (
	"testing"

	"wick/framing/client"
)

// TestImageUser has users of images in docker's form. Root is the only number in the guest's
// /etc/passwd of which that is certain.
func TestImageUser(t *testing.T) {
	t.Parallel()
	socket, _ := agentSocket(t)
	c, err := client.Dial(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for user, want := range map[string]string{
		"": "", "0": "0", "4294000000": "4294000000:0", "web": "web", "web:50": "web:50", ":50": "0:50", "1:2": "1:2", "-1": "-1",
	} {
		if got := imageUser(t.Context(), c, user); got != want {
			t.Errorf("imageUser(%q) = %q, want %q", user, got, want)
		}
	}
}
