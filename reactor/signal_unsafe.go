//go:build amd64 || arm64

package reactor

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The signal handler reads and writes these. It runs in any thread, at any instant.
var (
	pending uint64      // bit n-1: signal n came; the handler sets it, takeSignals clears it
	wakeFD  int32  = -1 // the eventfd that the handler writes to
	//lint:ignore U1000 the assembly reads it
	one = uint64(1) // the number that it writes
)

// signalHandler is called by the kernel, with the C calling convention. Go never calls it.
//
//lint:ignore U1000 signalHandlerPC takes its address
func signalHandler()

// signalHandlerPC returns the address of signalHandler. A Go function value is not that address.
func signalHandlerPC() uintptr

// faultHandler is the handler of faults, and faultHandlerPC returns its address.
//
//lint:ignore U1000 faultHandlerPC takes its address
func faultHandler()

func faultHandlerPC() uintptr

// runtimeHandler is the handler of the Go runtime, to which faultHandler jumps.
//
//lint:ignore U1000 the assembly reads it
var runtimeHandler uintptr

// sigaction is the kernel's struct of rt_sigaction(2), on both architectures.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

func openSignals() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return wrap("eventfd", "signals", err)
	}
	wakeFD = int32(fd)
	return nil
}

func addSignal(sig unix.Signal) { atomic.OrUint64(&pending, 1<<(sig-1)) }

func takeSignals() SignalSet { return SignalSet(atomic.SwapUint64(&pending, 0)) }

// claim replaces the handler and keeps the runtime's flags and restorer. SA_ONSTACK keeps the
// handler off a goroutine's small stack, SA_RESTART restarts system calls, and the handler returns
// to the restorer.
func claim(sig unix.Signal) error {
	var act sigaction
	if err := rtSigaction(sig, nil, &act); err != nil {
		return err
	}
	if act.handler == sigDefault || act.handler == sigIgnore {
		// The runtime installs no handler for a signal that was ignored. The flags and restorer of
		// any other will do.
		var runtimes sigaction
		if err := rtSigaction(unix.SIGURG, nil, &runtimes); err != nil {
			return err
		}
		act = runtimes
	}
	act.handler = signalHandlerPC()
	if sig == unix.SIGCHLD {
		act.flags |= noChildStop // no signal for a child that stops
	}
	return rtSigaction(sig, &act, nil)
}

// shield installs faultHandler in front of the runtime's handler.
func shield(sig unix.Signal) error {
	var act sigaction
	if err := rtSigaction(sig, nil, &act); err != nil || act.handler == faultHandlerPC() {
		return err
	}
	runtimeHandler = act.handler // the same for all signals
	act.handler = faultHandlerPC()
	return rtSigaction(sig, &act, nil)
}

const (
	sigDefault  = 0
	sigIgnore   = 1
	noChildStop = 1 // SA_NOCLDSTOP
)

// unignore sets every ignored signal to its default. os/signal would miss some: the runtime leaves
// SIGHUP, SIGINT and signals without a name ignored.
func unignore() {
	for sig := unix.Signal(1); sig <= 64; sig++ {
		var act sigaction
		if rtSigaction(sig, nil, &act) == nil && act.handler == sigIgnore {
			act = sigaction{handler: sigDefault}
			rtSigaction(sig, &act, nil)
		}
	}
}

func rtSigaction(sig unix.Signal, act, old *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
