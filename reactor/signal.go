package reactor

import "golang.org/x/sys/unix"

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
	if claimed == nil {
		if err := openSignals(); err != nil {
			return err
		}
		claimed = &Signals{}
		unignore()
	}
	for _, sig := range sigs {
		if err := claim(sig); err != nil {
			return wrap("sigaction", unix.SignalName(sig), err)
		}
	}
	return nil
}

// HandleSignals tells h of claimed signals, those included that came before. ClaimSignals must have been called, and no other
// loop may have them.
func (l *Loop) HandleSignals(h SignalHandler) {
	fd, err := unix.FcntlInt(uintptr(wakeFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		// Not a descriptor to be had for a program that has just started.
		panic(wrap("dup", "signals", err))
	}
	claimed.handler = h
	l.Attach(&claimed.Descriptor, fd, claimed)
	claimed.Want(Read)
}

// Ready implements [Handler].
func (s *Signals) Ready(Events) {
	var count [8]byte
	unix.Read(s.fd, count[:]) // the counter goes to zero before the bits are taken: one set in between wakes us again
	if set := takeSignals(); set != 0 {
		s.handler.Signaled(set)
	}
}

// Failed implements [Failer]: signals go on whatever their handler does.
func (s *Signals) Failed(value any, stack []byte) {
	passOn(s.handler, value, stack)
}
