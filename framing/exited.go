package framing

// ExitReason is how a process ended.
type ExitReason uint8

// The reasons.
const (
	ReasonExited ExitReason = iota
	ReasonSignalled
	ReasonTimedOut    // killed with its descendants when its timeout expired
	ReasonCancelled   // a host killed it with its descendants
	ReasonOutOfMemory // killed for lack of memory
	ReasonNotStarted  // Stage, Errno and Message say why
)

// StartStage is where a start failed.
type StartStage uint8

// The stages.
const (
	_              StartStage = iota // it did not fail
	StageResources                   // pipes, buffers
	StageTerminal
	StageUser
	StageDirectory
	StageLimits
	StageFork
	StageExec
	StageNamespace
	StageMount
	StageRoot
	StageCapabilities
	StageSeccomp
)

// Exited is the payload of exited: the receipt of a process.
type Exited struct {
	Reason ExitReason
	// Signal is the signal that ended it, or 0.
	Signal uint8
	// Stage is where the start failed, if it did.
	Stage StartStage
	// Core says that it dumped core. Tree says that the figures include all descendants, and not
	// only the process and the children it waited for.
	Core, Tree bool
	// Held says that other processes still held the output when the wait for it ended.
	Held bool
	// HasIO says that IO is known. It is false unless the host has asked by account.
	HasIO bool
	// Code is what a shell would report: the exit status, 128+N after signal N, 124 after a
	// timeout, 126 or 127 if it was not started.
	Code int32
	// Errno is Linux's error number if it was not started.
	Errno uint32
	// UserUS and SystemUS are processor time and ElapsedUS is time, in microseconds.
	UserUS, SystemUS, ElapsedUS uint64
	// Peak is the most memory, in bytes.
	Peak uint64
	// Output and Errors are the bytes of stdout and stderr, those dropped included.
	Output, Errors uint64
	// OutputDropped and ErrorsDropped are how many of these were beyond the start's Cap.
	OutputDropped, ErrorsDropped uint64
	// Left is the number of processes that it left running.
	Left uint32
	// Killed is the number of its processes that were killed for lack of memory.
	Killed uint32
	// Message says why it was not started, or which process was killed for lack of memory.
	Message []byte
	// IO is what its processes have read from block devices and written to them, if HasIO.
	IO IO
}

// IO is I/O on block devices.
type IO struct {
	// Read and Written are bytes.
	Read, Written uint64
	// Reads and Writes count operations.
	Reads, Writes uint64
}

// The flags of an exited.
const (
	exitedCore = 1 << iota
	exitedTree
	exitedHeld
	exitedIO
	exitedKnown = 1<<iota - 1
)

// AppendExited appends an exited. It cuts a message longer than MaxText bytes.
func AppendExited(dst []byte, seq uint32, e *Exited) []byte {
	start := len(dst)
	var flags byte
	if e.Core {
		flags |= exitedCore
	}
	if e.Tree {
		flags |= exitedTree
	}
	if e.Held {
		flags |= exitedHeld
	}
	if e.HasIO {
		flags |= exitedIO
	}
	dst = append(begin(dst, TypeExited, seq), byte(e.Reason), e.Signal, byte(e.Stage), flags)
	dst = appendU32(appendU32(dst, uint32(e.Code)), e.Errno)
	for _, v := range [...]uint64{e.UserUS, e.SystemUS, e.ElapsedUS, e.Peak, e.Output, e.Errors, e.OutputDropped, e.ErrorsDropped} {
		dst = appendU64(dst, v)
	}
	dst = appendU32(appendU32(dst, e.Left), e.Killed)
	dst = appendText16(dst, e.Message)
	if e.HasIO {
		dst = appendU64(appendU64(dst, e.IO.Read), e.IO.Written)
		dst = appendU64(appendU64(dst, e.IO.Reads), e.IO.Writes)
	}
	return finish(dst, start)
}

// ParseExited parses a whole payload, which the message aliases. After an error (*PayloadError) e
// is unchanged.
func ParseExited(payload []byte, e *Exited) error {
	f := fields{b: payload}
	r := Exited{Reason: ExitReason(f.u8()), Signal: f.u8(), Stage: StartStage(f.u8())}
	flags := f.u8()
	f.known(uint16(flags), exitedKnown)
	r.Core, r.Tree, r.Held = flags&exitedCore != 0, flags&exitedTree != 0, flags&exitedHeld != 0
	r.Code, r.Errno = int32(f.u32()), f.u32()
	for _, v := range [...]*uint64{&r.UserUS, &r.SystemUS, &r.ElapsedUS, &r.Peak, &r.Output, &r.Errors, &r.OutputDropped, &r.ErrorsDropped} {
		*v = f.u64()
	}
	r.Left, r.Killed = f.u32(), f.u32()
	r.Message = f.text16()
	if r.HasIO = flags&exitedIO != 0; r.HasIO {
		r.IO = IO{Read: f.u64(), Written: f.u64(), Reads: f.u64(), Writes: f.u64()}
	}
	if err := f.end(TypeExited); err != nil {
		return err
	}
	*e = r
	return nil
}
