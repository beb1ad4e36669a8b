package reactor

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// SignalSet is a set of signals: bit n-1 is signal n.
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

// SignalHandler is who is told of signals.
type SignalHandler interface {
	// Signaled is given those that came since the last call. One that came twice is there once, as the kernel does it.
	Signaled(set SignalSet)
}

// Signals are the claimed signals of the process as a descriptor. There is one for the process and it is never given
// up: the runtime's own handlers, which end the process, must not come back.
type Signals struct {
	Descriptor
	handler SignalHandler
}

var claimed *Signals

// ClaimSignals makes the given signals do nothing but be counted, from now on, until [Loop.HandleSignals] hands them
// out. Every other signal that the process inherited as ignored is set to its default: children inherit that, and a shell
// ignores SIGINT for what it starts in the background.
//
// It is the first thing an init does: until then SIGTERM, SIGINT, SIGHUP and SIGQUIT end a Go process, even process 1.
// A second call claims more signals.
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
		unignore()       // after the claims: one of those must not have its default for an instant
		unblockSignals() // in this thread, and one is enough for the kernel to find
	}
	return nil
}

// faults are the signals that end a Go program, whether they tell of a fault or somebody has sent them.
var faults = [...]unix.Signal{
	unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS,
}

// ShieldFaults makes the signals of faults do nothing when a process sends them. It is for an init: the kernel keeps from process 1 what it
// does not handle, but a Go program handles them all, and ends of them. Faults of this program itself are what they were.
func ShieldFaults() error {
	for _, sig := range faults {
		if err := shield(sig); err != nil {
			return wrap("sigaction", signalName(sig), err)
		}
	}
	return nil
}

// HandleSignals tells h of claimed signals, those included that came before. ClaimSignals must have been called, and no other
// loop may have them.
func (l *Loop) HandleSignals(h SignalHandler) {
	if claimed.Open() {
		panic("reactor: signals are handled already")
	}
	fd, err := unix.FcntlInt(uintptr(wakeFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		// Not a descriptor to be had for a program that has just started.
		panic(wrap("dup", "signals", err))
	}
	claimed.handler = h
	l.Attach(&claimed.Descriptor, fd, claimed)
	claimed.Want(Read)
}

// raise has a claimed signal handed out as if it had come once more.
func raise(sig unix.Signal) {
	addSignal(sig)
	one := [8]byte{1} // of either byte order: all that matters is that it is not zero
	unix.Write(int(wakeFD), one[:])
}

// Ready implements [Handler].
func (s *Signals) Ready(Events) {
	var count [8]byte
	recv(s.fd, count[:]) // the counter goes to zero before the bits are taken: one set in between wakes us again
	if set := takeSignals(); set != 0 {
		s.handler.Signaled(set)
	}
}

// Failed implements [Failer]: signals go on whatever their handler does.
func (s *Signals) Failed(value any, stack []byte) { passOn(s.handler, value, stack) }

// signalName is for errors: "SIGTERM", or "signal 34" for one without a name.
func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(sig))
}
