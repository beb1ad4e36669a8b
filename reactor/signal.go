package reactor

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// SignalSet is a set of signals. Bit n-1 stands for signal n.
type SignalSet uint64

// Has reports whether the set holds the signal.
func (s SignalSet) Has(sig unix.Signal) bool { return s&(1<<(sig-1)) != 0 }

// All yields the signals in the set, lowest first.
func (s SignalSet) All(yield func(unix.Signal) bool) {
	for sig := unix.Signal(1); s != 0; sig, s = sig+1, s>>1 {
		if s&1 != 0 && !yield(sig) {
			return
		}
	}
}

// SignalHandler is told of signals.
type SignalHandler interface {
	// Signaled receives the signals that came since the last call. The kernel merges signals, so
	// one that came twice may be reported once.
	Signaled(set SignalSet)
}

// Signals is the descriptor of the claimed signals. The process has one, and keeps it, because the
// runtime's own handlers end the process.
type Signals struct {
	Descriptor
	handler SignalHandler
}

var claimed *Signals

// ClaimSignals makes the given signals do nothing but be recorded, until [Loop.HandleSignals]
// reports them. It sets every other signal that the process inherited as ignored to its default.
// Children would inherit it, and a shell ignores SIGINT for programs in the background.
//
// An init calls it first of all, because SIGTERM, SIGINT, SIGHUP and SIGQUIT end a Go process until
// then, even process 1. A second call claims more signals.
func ClaimSignals(sigs ...unix.Signal) error {
	first := claimed == nil
	if first {
		if err := openSignals(); err != nil {
			return err
		}
		claimed = &Signals{}
	}
	for _, sig := range sigs {
		if err := claim(sig); err != nil {
			return wrap("sigaction", signalName(sig), err)
		}
	}
	if first {
		unignore()       // after the claims, so that none of those has its default for an instant
		unblockSignals() // in this thread; the kernel needs one
	}
	return nil
}

// faults are the signals that end a Go program, whether they report a fault or another process sent
// them.
var faults = [...]unix.Signal{
	unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT,
	unix.SIGSYS,
}

// ShieldFaults makes the signals of faults do nothing when a process sends them. It is for an init.
// The kernel protects process 1 from signals that it does not handle, but a Go program handles them
// all, and ends. Faults of this program itself still end it.
func ShieldFaults() error {
	for _, sig := range faults {
		if err := shield(sig); err != nil {
			return wrap("sigaction", signalName(sig), err)
		}
	}
	return nil
}

// HandleSignals tells h of claimed signals, including those that came before. ClaimSignals must
// have been called, and no other loop may handle them.
func (l *Loop) HandleSignals(h SignalHandler) {
	if claimed.Open() {
		panic("reactor: signals are handled already")
	}
	fd, err := unix.FcntlInt(uintptr(wakeFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		// A program that has just started has free descriptors.
		panic(wrap("dup", "signals", err))
	}
	claimed.handler = h
	l.Attach(&claimed.Descriptor, fd, claimed)
	claimed.Want(Read)
}

// raise reports a claimed signal as if it had come once more.
func raise(sig unix.Signal) {
	addSignal(sig)
	one := [8]byte{1} // any number but 0 does, in either byte order
	unix.Write(int(wakeFD), one[:])
}

// Ready implements [Handler].
func (s *Signals) Ready(Events) {
	var count [8]byte
	// The counter is reset before the bits are taken, so a signal in between is reported again.
	recv(s.fd, count[:])
	if set := takeSignals(); set != 0 {
		s.handler.Signaled(set)
	}
}

// Failed implements [Failer]. Signals are still reported after a panic.
func (s *Signals) Failed(value any, stack []byte) { passOn(s.handler, value, stack) }

// signalName returns the name for errors: "SIGTERM", or "signal 34" if it has no name.
func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(sig))
}
