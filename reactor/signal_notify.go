//go:build !amd64 && !arm64

package reactor

import (
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Architectures without the handler in assembly use os/signal. The one goroutine of this package
// writes each signal to an eventfd. It costs two threads.

var (
	pending atomic.Uint64
	wakeFD  int32 = -1
	heard         = make(chan os.Signal, 64)
)

func openSignals() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return wrap("eventfd", "signals", err)
	}
	wakeFD = int32(fd)
	go func() {
		for sig := range heard {
			raise(sig.(unix.Signal))
		}
	}()
	return nil
}

func addSignal(sig unix.Signal) { pending.Or(1 << (sig - 1)) }

func takeSignals() SignalSet { return SignalSet(pending.Swap(0)) }

func claim(sig unix.Signal) error {
	signal.Notify(heard, sig)
	return nil
}

func unignore() {
	for sig := unix.Signal(1); sig < 32; sig++ {
		if signal.Ignored(sig) {
			signal.Reset(sig)
		}
	}
}

// shield does nothing, because it needs the handler in assembly.
func shield(unix.Signal) error { return nil }
