package modeltest

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/machinetest"
	"wick/reactor/leaktest"
)

var (
	seedFlag   = flag.Uint64("modeltest.seed", 0, "the seed of what is random; 0 for one that nobody knows")
	rounds     = flag.Int("modeltest.rounds", 2, "rounds of the model test, each with a seed and an agent of its own")
	sessions   = flag.Int("modeltest.sessions", 12, "sessions of each host in a round of the model test")
	resetCount = flag.Int("modeltest.resets", 500, "resets of all connections in the reset test")
	guestReset = flag.Int("modeltest.guest-resets", 0, "resets of all connections of a booted guest in the reset test; 0 for no such test")
	soakFor    = flag.Duration("modeltest.soak", 0, "how long the soak test goes on; 0 for no such test")
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// seeds are n of them, beginning with the one that was asked for.
func seeds(n int) []uint64 {
	first := *seedFlag
	if first == 0 {
		first = uint64(rand.Uint32())
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = first + uint64(i)
	}
	return all
}

var (
	agentProgram = sync.OnceValues(func() ([]byte, error) { return program("vsock-agent") })
	initProgram  = sync.OnceValues(func() ([]byte, error) { return program("vm-init") })
)

// program builds one that is put to the test, as it is when it is shipped.
func program(name string) ([]byte, error) {
	return machinetest.Program(context.Background(), runtime.GOARCH, "wick/cmd/"+name)
}

// until tries until it succeeds, for what tells of itself by no event.
func until(try func() error) error {
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(limit) {
			return err
		}
	}
}
