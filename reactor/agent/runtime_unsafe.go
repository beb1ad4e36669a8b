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

// Args are the program's arguments, as os.Args.
func Args() []string { return runtimeArgs() }

// memoryLimit is where the garbage collector begins to work, in bytes of the Go runtime's memory. A working agent
// makes garbage only by starting commands, about 4 kB each.
const memoryLimit = 5 << 20

// Tune sets the process up for what it is. Descriptors that it was started with, and did not ask for, are closed to its
// children. The Go runtime is set for a process that is one loop: one processor, so that no thread is kept for a second goroutine; no garbage
// collection but at the memory limit, so that an idle machine stays idle (the runtime forces one every two minutes otherwise).
// It is done here and not in the environment because commands inherit that.
func Tune() {
	runtime.GOMAXPROCS(1)
	setGCPercent(-1)
	setMemoryLimit(memoryLimit)
	unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}
