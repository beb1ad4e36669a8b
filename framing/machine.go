package framing

// Figures has named numbers, encoded: the payload of figures. The zero Figures is empty. A copy
// shares the figures present when it was made.
type Figures struct {
	n   uint16
	raw []byte
}

// Add appends a figure. A name is cut to 255 bytes; of more than 65535 figures the later ones are
// left out.
//
//go:noinline
func (f *Figures) Add(name string, value uint64) {
	if f.n == maxCount {
		return
	}
	f.raw = appendU64(appendText8(f.raw, name), value)
	f.n++
}

// Len returns the number of figures.
func (f Figures) Len() int { return int(f.n) }

// All yields the figures in order. The names alias the payload or what Add copied.
func (f Figures) All(yield func(name []byte, value uint64) bool) {
	for r := (fields{b: f.raw}); len(r.b) > 0; {
		if !yield(r.text8(), r.u64()) {
			return
		}
	}
}

// AppendFigures appends a figures frame.
func AppendFigures(dst []byte, seq uint32, f Figures) []byte {
	dst = AppendHeader(dst, TypeFigures, seq, 2+len(f.raw))
	return append(appendU16(dst, f.n), f.raw...)
}

// ParseFigures parses a whole payload, which the names alias.
func ParseFigures(payload []byte) (Figures, error) {
	f := fields{b: payload}
	r := Figures{n: f.u16()}
	was := f.b
	for range f.count(uint32(r.n), 1+8) {
		f.text8()
		f.u64()
	}
	r.raw = f.since(was)
	if err := f.end(TypeFigures); err != nil {
		return Figures{}, err
	}
	return r, nil
}

// PressureResource is a resource that tasks wait for.
type PressureResource uint8

// The resources.
const (
	PressureMemory PressureResource = iota
	PressureCPU                     // processors
	PressureIO                      // disks
)

// Pressure is the payload of pressure.
type Pressure struct {
	Resource PressureResource
	// StallUS and WindowUS are in microseconds: tasks that waited for StallUS within WindowUS cause
	// a figures.
	StallUS, WindowUS uint32
}

// AppendPressure appends a pressure.
func AppendPressure(dst []byte, seq uint32, p Pressure) []byte {
	dst = append(AppendHeader(dst, TypePressure, seq, 1+4+4), byte(p.Resource))
	return appendU32(appendU32(dst, p.StallUS), p.WindowUS)
}

// ParsePressure parses a whole payload. The agent checks the resource.
func ParsePressure(payload []byte) (Pressure, error) {
	f := fields{b: payload}
	p := Pressure{PressureResource(f.u8()), f.u32(), f.u32()}
	return p, f.end(TypePressure)
}

// AppendRestore appends a restore. unixNS is the time in nanoseconds since 1970, or 0 to leave the
// clock. A guest takes 512 bytes of entropy.
func AppendRestore(dst []byte, seq uint32, unixNS uint64, entropy []byte) []byte {
	start := len(dst)
	return finish(appendText16(appendU64(begin(dst, TypeRestore, seq), unixNS), entropy), start)
}

// ParseRestore parses a whole payload, which entropy aliases.
func ParseRestore(payload []byte) (unixNS uint64, entropy []byte, err error) {
	f := fields{b: payload}
	unixNS, entropy = f.u64(), f.text16()
	return unixNS, entropy, f.end(TypeRestore)
}

// FreezeFlags are options of a freeze, as bits.
type FreezeFlags uint8

// FreezeCommands freezes all commands too.
const FreezeCommands FreezeFlags = 1

// AppendFreeze appends a freeze that ends by itself after so many milliseconds, 1 to 60000. Without
// flags the frame is one that every guest knows.
func AppendFreeze(dst []byte, seq uint32, thawAfterMS uint32, flags FreezeFlags) []byte {
	start := len(dst)
	dst = appendU32(begin(dst, TypeFreeze, seq), thawAfterMS)
	if flags != 0 {
		dst = append(dst, byte(flags))
	}
	return finish(dst, start)
}

// ParseFreeze parses a whole payload.
func ParseFreeze(payload []byte) (thawAfterMS uint32, flags FreezeFlags, err error) {
	f := fields{b: payload}
	thawAfterMS = f.u32()
	if len(f.b) > 0 {
		flags = FreezeFlags(f.u8())
		f.known(uint16(flags), uint16(FreezeCommands))
	}
	return thawAfterMS, flags, f.end(TypeFreeze)
}

// PowerHow is how a machine ends.
type PowerHow uint8

// The ways.
const (
	PowerRestart PowerHow = iota // makes Firecracker exit
	PowerOff
	PowerHalt
)

// AppendPower appends a power. graceMS is how many milliseconds processes have to end; 0 means the
// guest's default.
func AppendPower(dst []byte, seq uint32, how PowerHow, graceMS uint32) []byte {
	return appendU32(append(AppendHeader(dst, TypePower, seq, 1+4), byte(how)), graceMS)
}

// ParsePower parses a whole payload. The agent checks how.
func ParsePower(payload []byte) (how PowerHow, graceMS uint32, err error) {
	f := fields{b: payload}
	how, graceMS = PowerHow(f.u8()), f.u32()
	return how, graceMS, f.end(TypePower)
}
