package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestRandom makes changes at random while a host follows. The view of the host, or what it sees
// when it is told to look, is the tree in the end.
func TestRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := newRoom(t)
			r.watch(1, framing.WatchTree, "", "")
			rnd := rand.New(rand.NewPCG(seed, 2))
			outside := t.TempDir()
			var did []string
			for round := range 12 {
				did = nil
				for range 1 + rnd.IntN(60) {
					did = append(did, change(rnd, r.dir, outside))
				}
				looks := r.look
				log := r.settle(1)
				if r.look > looks {
					r.view = r.files() // it may have looked in the middle of the changes
				}
				r.check(fmt.Sprintf("round %d, %d looks", round, r.look))
				if t.Failed() {
					t.Log(strings.Join(did, "\n"))
					t.Log(strings.Join(log, "\n"))
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d looks", r.look)
		})
	}
}

// change makes a change at random, and returns it. It may fail.
func change(rnd *rand.Rand, dir, outside string) string {
	at := func() string {
		path := dir
		for range 1 + rnd.IntN(3) {
			path += "/" + string(rune('a'+rnd.IntN(4)))
		}
		return path
	}
	one, two, out := at(), at(), outside+"/x"
	op, done := "", error(nil)
	switch rnd.IntN(9) {
	case 0, 1:
		op, done = "write", os.WriteFile(one, nil, 0o600)
	case 2:
		op, done = "mkdir -p", os.MkdirAll(one, 0o755)
	case 3:
		op, done = "mkdir", os.Mkdir(one, 0o755)
	case 4, 5:
		op, done = "rename", os.Rename(one, two)
	case 6:
		op, done = "exchange", unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, two, unix.RENAME_EXCHANGE)
	case 7:
		if rnd.IntN(2) == 0 {
			op, done = "move out", os.Rename(one, out)
		} else {
			op, done = "move in", os.Rename(out, one)
		}
	case 8:
		op, done = "rm -r", os.RemoveAll(one)
	}
	return fmt.Sprint(op, " ", one[len(dir)+1:], " ", two[len(dir)+1:], " ", done == nil)
}
