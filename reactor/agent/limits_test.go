package agent

import (
	"path/filepath"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// TestTooManyConnections holds that one connection too many is told so, and that all others may
// hold their buffers at once.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	const maxConns = 64
	b := startBox(t)
	var hosts []*host
	for range maxConns {
		hosts = append(hosts, b.dial())
	}
	h := b.dialRaw()
	h.Want(framing.TypeReady, 0)
	h.WantError(0, "too many connections (limit 64)")
	h.WantEnd()
	frame := roomtest.File(1, filepath.Join(b.dir, "file"), make([]byte, 100<<10))
	for _, h := range hosts {
		h.Send(frame[:10])
	}
	for _, h := range hosts {
		h.Send(frame[10:])
		if reason := h.Wrote(1); reason != "" {
			t.Fatal(reason)
		}
	}
	hosts[0].Close()
	b.quiet(maxConns - 1)
	b.dial().Ping(1)
}
