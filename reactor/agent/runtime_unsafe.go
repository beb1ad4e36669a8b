package agent

import (
	"math"
	"runtime"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
)

// What follows is what packages os and runtime/debug are for. They cost 60 kB and 180 kB of a binary of 1.4 MB, the second
// because it brings fmt, so the functions behind them are called here: the runtime exports each for exactly that package.

//go:linkname runtimeArgs os.runtime_args
func runtimeArgs() []string

//go:linkname setGCPercent runtime/debug.setGCPercent
func setGCPercent(percent int32) int32

//go:linkname setMemoryLimit runtime/debug.setMemoryLimit
func setMemoryLimit(limit int64) int64

//go:linkname freeOSMemory runtime/debug.freeOSMemory
func freeOSMemory()

//go:linkname pollServerInit internal/poll.runtime_pollServerInit
func pollServerInit()

// Args are the program's arguments, as os.Args.
func Args() []string { return runtimeArgs() }

// memoryLimit is where the garbage collector begins to work by itself, in bytes of the Go runtime's memory. About 5 MB of that
// is what the runtime has mapped and mostly never touches; a limit below it would have the collector run without end.
const memoryLimit = 8 << 20

// garbageLimit is how much garbage, in bytes, requests may leave before it is collected, in 0.3 ms, and its memory goes back to the
// system.
const garbageLimit = 96 << 10

// What leaves garbage, and how much, in bytes; what does not stand here makes none worth mentioning.
const (
	commandGarbage = 1 << 10 // and a few copies of its payload
	sessionGarbage = 2 << 10 // more, of a started process
	envGarbage     = 4 << 10 // an environment of its own
	connGarbage    = 2 << 10
	fileGarbage    = 512
	errorGarbage   = 256
	factsGarbage   = 24 << 10
	statsGarbage   = 10 << 10
)

// collect counts garbage, and collects it when it is much.
//
//go:noinline
func (a *Agent) collect(bytes int) {
	if a.garbage += bytes; a.garbage >= garbageLimit {
		a.garbage = 0
		freeOSMemory()
	}
}

// Tune sets the process up for what it is. Descriptors that it was started with, and did not ask for, are closed to its
// children. The Go runtime is set for a process that is one loop: one processor, so that no thread is kept for a second goroutine; no garbage
// collection but when it is asked for, so that an idle machine stays idle (the runtime forces one every two minutes otherwise).
// It is done here and not in the environment because commands inherit that.
//
// The runtime's own poller, which serves its timers, is opened now: it would be when the collector first waits for a time, and the runtime
// ends the program if there is no descriptor for it then.
func Tune() {
	runtime.GOMAXPROCS(1)
	pollServerInit()
	setGCPercent(-1)
	setMemoryLimit(memoryLimit)
	unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}
