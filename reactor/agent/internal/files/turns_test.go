package files

import (
	"path/filepath"
	"strings"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/wire"
)

// TestReadsTakeTurns reads two files at once. A host with credit for everything gets a frame of
// each in turn.
func TestReadsTakeTurns(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	r := newRoom(t, nil)
	path := filepath.Join(t.TempDir(), "file")
	roomtest.WriteFile(t, path, strings.Repeat("x", size))
	h := r.Dial()
	for seq := range uint32(2) {
		h.Send(roomtest.Read(seq, 1, path))
		h.Want(framing.TypeOutput, seq)
	}
	r.Do(func() { // by frames, one could be done before the other has credit
		for seq := range uint32(2) {
			r.Server.All()[0].Channel(seq).(wire.Source).Credit(framing.StreamOutput, 1<<30)
		}
	})
	left, run, last, turns := [2]int{size - 1, size - 1}, 0, uint32(0), false
	for left[0] > 0 || left[1] > 0 {
		typ, seq, payload := h.Next()
		if typ == framing.TypeDone {
			continue
		}
		left[seq] -= len(payload) - 1
		turns = turns || seq == 1 // both are at it
		if run++; seq != last {
			run, last = 1, seq
		}
		if turns && run > 2 && left[1-seq] > 0 {
			t.Fatalf("%d frames of seq %d in a row", run, seq)
		}
	}
}
