package framing

// SignalScope is the target of a signal.
type SignalScope uint8

// The scopes.
const (
	ScopeGroup   SignalScope = iota // its process group; on a terminal the foreground group
	ScopeProcess                    // the process alone
	ScopeTree                       // the process and its descendants
)

// Signal is the payload of signal.
type Signal struct {
	// ID is the id of a process of start. If it is 0, PID is the pid of one of exec or spawn_watch.
	ID  uint64
	PID uint32
	// Signal is Linux's number; see signal(7).
	Signal uint8
	Scope  SignalScope
}

// AppendSignal appends a signal.
func AppendSignal(dst []byte, seq uint32, s Signal) []byte {
	dst = appendU32(appendU64(AppendHeader(dst, TypeSignal, seq, 8+4+1+1), s.ID), s.PID)
	return append(dst, s.Signal, byte(s.Scope))
}

// ParseSignal parses a whole payload. The agent checks signal and scope.
func ParseSignal(payload []byte) (Signal, error) {
	f := fields{b: payload}
	s := Signal{f.u64(), f.u32(), f.u8(), SignalScope(f.u8())}
	return s, f.end(TypeSignal)
}

// ProcessKind is the message that started a process.
type ProcessKind uint8

// The kinds.
const (
	KindStart ProcessKind = iota
	KindExec
	KindSpawnWatch
)

// Process is a record of process_list.
type Process struct {
	// ID is the id of its start, and 0 for what exec or spawn_watch started.
	ID   uint64
	PID  uint32
	Kind ProcessKind
	// Attached says that a connection has it, Terminal that it has a terminal. Exited says that
	// only its receipt, and the rest of its output, is kept.
	Attached, Terminal, Exited bool
	// AgeUS is the time since its start and CPUUS its processor time, in microseconds.
	AgeUS, CPUUS uint64
	// Memory is in bytes and Processes a number, of the process and its descendants; 0 means
	// unknown.
	Memory    uint64
	Processes uint32
	// Command is the beginning of its words or of its shell command, at most MaxCommand bytes.
	Command []byte
}

// MaxCommand is how many bytes of a command a process_list has.
const MaxCommand = 96

// The flags of a record, and the size of one without its command, in bytes.
const (
	processAttached = 1 << iota
	processTerminal
	processExited
	processKnown = 1<<iota - 1

	processMin = 8 + 4 + 1 + 1 + 8 + 8 + 8 + 4 + 2
)

// AppendProcessList appends a process_list. One that is not in memory is made of a header, the
// 32-bit count of its records, and the records by [AppendProcess].
func AppendProcessList(dst []byte, seq uint32, list []Process) []byte {
	start := len(dst)
	dst = AppendCount(begin(dst, TypeProcessList, seq), len(list))
	for i := range list {
		dst = AppendProcess(dst, &list[i])
	}
	return finish(dst, start)
}

// AppendProcess appends a record of a process_list. It cuts a command longer than MaxCommand bytes.
func AppendProcess(dst []byte, p *Process) []byte {
	var flags byte
	for i, set := range [...]bool{p.Attached, p.Terminal, p.Exited} {
		if set {
			flags |= 1 << i
		}
	}
	dst = append(appendU32(appendU64(dst, p.ID), p.PID), byte(p.Kind), flags)
	dst = appendU64(appendU64(appendU64(dst, p.AgeUS), p.CPUUS), p.Memory)
	return appendText16(appendU32(dst, p.Processes), p.Command[:min(len(p.Command), MaxCommand)])
}

// ParseProcessList parses a whole payload. The commands alias it, and may be longer than
// MaxCommand. It allocates the list, at most about twice the size of the payload.
func ParseProcessList(payload []byte) ([]Process, error) {
	f := fields{b: payload}
	list := make([]Process, f.count(f.u32(), processMin))
	for i := range list {
		p := &list[i]
		p.ID, p.PID, p.Kind = f.u64(), f.u32(), ProcessKind(f.u8())
		flags := f.u8()
		f.known(uint16(flags), processKnown)
		p.Attached, p.Terminal, p.Exited = flags&processAttached != 0, flags&processTerminal != 0, flags&processExited != 0
		p.AgeUS, p.CPUUS, p.Memory, p.Processes = f.u64(), f.u64(), f.u64(), f.u32()
		p.Command = f.text16()
	}
	if err := f.end(TypeProcessList); err != nil {
		return nil, err
	}
	return list, nil
}
