//go:build amd64 || arm64

package reactor

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the signal handler reads and writes. It runs on whichever thread the kernel picks, at any instant.
var (
	pending uint64      // bit n-1: signal n came; set by the handler, swapped out by takeSignals
	wakeFD  int32  = -1 // the eventfd that it writes
	//lint:ignore U1000 the assembly reads it
	one = uint64(1) // what it writes to it
)

// signalHandler is entered by the kernel, by the C calling convention, never by Go.
//
//lint:ignore U1000 signalHandlerPC takes its address
func signalHandler()

// signalHandlerPC is the address of signalHandler, which Go's own value of the function is not.
func signalHandlerPC() uintptr

// faultHandler and faultHandlerPC are a handler and its address as above, for faults.
//
//lint:ignore U1000 faultHandlerPC takes its address
func faultHandler()

func faultHandlerPC() uintptr

// runtimeHandler is what faultHandler goes on to.
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

// claim replaces the handler and keeps the rest of what the runtime set up: SA_ONSTACK, without which a signal would be handled on a
// goroutine's small stack, SA_RESTART, and the restorer, which the handler returns to.
func claim(sig unix.Signal) error {
	var act sigaction
	if err := rtSigaction(sig, nil, &act); err != nil {
		return err
	}
	if act.handler == sigDefault || act.handler == sigIgnore {
		// The runtime installs no handler for a signal that it found ignored. Another's flags and restorer do as well.
		var runtimes sigaction
		if err := rtSigaction(unix.SIGURG, nil, &runtimes); err != nil {
			return err
		}
		act = runtimes
	}
	act.handler = signalHandlerPC()
	if sig == unix.SIGCHLD {
		act.flags |= noChildStop // only deaths
	}
	return rtSigaction(sig, &act, nil)
}

// shield puts faultHandler before the runtime's handler.
func shield(sig unix.Signal) error {
	var act sigaction
	if err := rtSigaction(sig, nil, &act); err != nil || act.handler == faultHandlerPC() {
		return err
	}
	runtimeHandler = act.handler // one for all
	act.handler = faultHandlerPC()
	return rtSigaction(sig, &act, nil)
}

const (
	sigDefault  = 0
	sigIgnore   = 1
	noChildStop = 1 // SA_NOCLDSTOP
)

// unignore leaves out none: the runtime lets an ignored SIGHUP, SIGINT and a few with no name be.
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
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
