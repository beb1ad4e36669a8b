package modeltest

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/machinetest"
	"wick/reactor/leaktest"
)

var (
	seedFlag   = flag.Uint64("modeltest.seed", 0, "seed of the random choices; 0 picks one")
	rounds     = flag.Int("modeltest.rounds", 2, "rounds of the model test, each with its own seed and agent")
	sessions   = flag.Int("modeltest.sessions", 12, "sessions of each host in a round of the model test")
	resetCount = flag.Int("modeltest.resets", 500, "resets of all connections in the reset test")
	guestReset = flag.Int("modeltest.guest-resets", 0, "resets of a booted guest's connections in the reset test; 0 skips it")
	soakFor    = flag.Duration("modeltest.soak", 0, "duration of the soak test; 0 skips it")
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

// seeds returns n consecutive seeds, beginning with that of -modeltest.seed or a random one.
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

// program builds a program to test as it is released.
func program(name string) ([]byte, error) {
	return machinetest.Program(context.Background(), runtime.GOARCH, "wick/cmd/"+name)
}

// until calls try until it succeeds or patience has passed. It is for conditions that no event
// announces.
func until(try func() error) error {
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(limit) {
			return err
		}
	}
}
