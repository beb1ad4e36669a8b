// Package runtime has this file of the standard library's replaced in the guest's programs. It has
// no tracer of runtime/trace, which they never start, and which links 70 kB. The rest of the
// runtime asks traceAcquire for a traceLocker, and calls its methods if ok says that a trace runs.
package runtime

import "internal/abi"

// trace is locked by checks of statistics.
var trace struct{ lock mutex }

type (
	gTraceState       struct{}
	pTraceState       struct{ reclaimed uintptr }
	mTraceState       struct{}
	traceLocker       struct{}
	traceBlockReason  uint8
	traceGoStopReason uint8
)

func (*gTraceState) reset() {}

const (
	traceBlockGeneric traceBlockReason = iota
	traceBlockForever
	traceBlockNet
	traceBlockSelect
	traceBlockCondWait
	traceBlockSync
	traceBlockChanSend
	traceBlockChanRecv
	traceBlockGCMarkAssist
	traceBlockGCSweep
	traceBlockSystemGoroutine
	traceBlockPreempted
	traceBlockDebugCall
	traceBlockUntilGCEnds
	traceBlockSleep
	traceBlockGCWeakToStrongWait
	traceBlockSynctest
)

const (
	traceGoStopGeneric traceGoStopReason = iota
	traceGoStopGoSched
	traceGoStopPreempted
)

const (
	logicalStackSentinel      = ^uintptr(0)
	defaultTraceAdvancePeriod = 0
)

func traceLockInit()              {}
func traceEnabled() bool          { return false }
func traceAllocFreeEnabled() bool { return false }
func traceShuttingDown() bool     { return false }
func traceAcquire() traceLocker   { return traceLocker{} }
func traceRelease(traceLocker)    {}
func traceExitingSyscall()        {}
func traceExitedSyscall()         {}
func traceThreadDestroy(*m)       {}
func traceReader() *g             { return nil }
func traceReaderAvailable() *g    { return nil }
func traceAdvance(bool)           {}
func tracefpunwindoff() bool      { return true }

func traceCPUSample(*g, *m, *p, []uintptr) {}

func (traceLocker) ok() bool                           { return false }
func (traceLocker) Gomaxprocs(int32)                   {}
func (traceLocker) ProcStart()                         {}
func (traceLocker) ProcStop(*p)                        {}
func (traceLocker) GCActive()                          {}
func (traceLocker) GCStart()                           {}
func (traceLocker) GCDone()                            {}
func (traceLocker) STWStart(stwReason)                 {}
func (traceLocker) STWDone()                           {}
func (traceLocker) GCSweepStart()                      {}
func (traceLocker) GCSweepSpan(uintptr)                {}
func (traceLocker) GCSweepDone()                       {}
func (traceLocker) GCMarkAssistStart()                 {}
func (traceLocker) GCMarkAssistDone()                  {}
func (traceLocker) GoCreate(*g, uintptr, bool)         {}
func (traceLocker) GoStart()                           {}
func (traceLocker) GoEnd()                             {}
func (traceLocker) GoSched()                           {}
func (traceLocker) GoPreempt()                         {}
func (traceLocker) GoStop(traceGoStopReason)           {}
func (traceLocker) GoPark(traceBlockReason, int)       {}
func (traceLocker) GoUnpark(*g, int)                   {}
func (traceLocker) GoSwitch(*g, bool)                  {}
func (traceLocker) GoSysCall()                         {}
func (traceLocker) GoSysExit(bool)                     {}
func (traceLocker) ProcSteal(*p)                       {}
func (traceLocker) HeapAlloc(uint64)                   {}
func (traceLocker) HeapGoal()                          {}
func (traceLocker) GoCreateSyscall(*g)                 {}
func (traceLocker) GoDestroySyscall()                  {}
func (traceLocker) SpanAlloc(*mspan)                   {}
func (traceLocker) SpanFree(*mspan)                    {}
func (traceLocker) HeapObjectAlloc(uintptr, *abi.Type) {}
func (traceLocker) HeapObjectFree(uintptr)             {}
func (traceLocker) GoroutineStackAlloc(_, _ uintptr)   {}
func (traceLocker) GoroutineStackFree(uintptr)         {}
