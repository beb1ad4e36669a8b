package sys

import (
	"math"
	"runtime"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
)

// Packages os and runtime/debug would add 60 kB and 180 kB to a program of 1.4 MB, because
// runtime/debug imports fmt. The runtime exports these functions for exactly those packages.

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

// Args returns the program's arguments, as os.Args has them.
func Args() []string { return runtimeArgs() }

// memoryLimit is the size of the Go runtime's memory, in bytes, at which the collector starts by
// itself. The runtime maps about 5 MB that it hardly ever touches. With a lower limit the collector
// would run all the time.
const memoryLimit = 8 << 20

// Tune prepares the process for a single loop. It keeps inherited descriptors from children. It
// gives the Go runtime one processor, so that the runtime keeps no thread for a second goroutine.
// It runs the garbage collector only on request, because the runtime would otherwise force a
// collection every two minutes in an idle machine. The environment could set that too, but commands
// would inherit it.
//
// The runtime opens its own poller, for its timers, when the collector first waits for a time. If
// there is no free descriptor then, it ends the program, so Tune opens the poller now.
func Tune() {
	runtime.GOMAXPROCS(1)
	pollServerInit()
	setGCPercent(-1)
	setMemoryLimit(memoryLimit)
	unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}
