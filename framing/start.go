package framing

import "bytes"

// The flags of a start.
const (
	startShell = 1 << iota
	startStdin
	startTerminal
	startMerge
	startOnly
	startMore
	startConfined
	startLoose
)

// KeepForEver is the value of Start.KeepMS without a limit.
const KeepForEver = 1<<32 - 1

// WorkloadID is the id of the process that a guest starts by itself: the letters "workload". No
// start may have it.
const WorkloadID = 0x776F726B6C6F6164

// Start is the payload of start.
type Start struct {
	// ID is chosen by the host: not 0, not a ReservedID, and not known to the guest.
	ID uint64
	// Shell says that Args has one word, for sh -c.
	Shell bool
	// Stdin says that the host sends input. Otherwise stdin is /dev/null, or a terminal without
	// input.
	Stdin bool
	// Terminal makes stdin, stdout and stderr a terminal of Rows and Columns. Its output is
	// StreamOutput.
	Terminal bool
	// Merge sends stderr to stdout.
	Merge bool
	// Only makes Env the whole environment.
	Only bool
	// Loose says that the process never waits for a host that is not there: of its output the guest
	// then holds the newest 64 KiB. A guest without FeatureLook does not know it.
	Loose bool
	// TimeoutMS is in milliseconds from the start; 0 means no limit. After it the process and its
	// descendants are killed.
	TimeoutMS uint32
	// KeepMS is how many milliseconds the process is kept for an attach after its connection is
	// lost. With 0 it is killed at once.
	KeepMS uint32
	// OutputCredit and ErrorsCredit are what may be sent of stdout and stderr, in bytes.
	OutputCredit, ErrorsCredit uint32
	// Cap is how many bytes of each of stdout and stderr are sent before output is dropped; 0 means
	// no limit.
	Cap uint64
	// Rows and Columns are the size of the terminal, if there is one.
	Rows, Columns uint16
	// User is "name" or "uid", optionally followed by ":group" or ":gid". Empty means the agent's.
	User []byte
	// Dir is the working directory. Empty means the agent's.
	Dir []byte
	// Args is the command, at least one word; with Shell exactly one.
	Args Words
	// Env is added to the agent's environment; with Only it is the whole environment.
	Env Env
	// Limits are set before the command begins.
	Limits Limits
	// More says that WaitMS and Modes are given, and that the exited may have Held. A guest without
	// FeatureManners does not know it.
	More bool
	// WaitMS is how many milliseconds after the command's exit its output is awaited. With
	// WaitForEnd it is until its end.
	WaitMS uint32
	// Modes are the modes of the terminal.
	Modes Modes
	// Confinement restricts the process; with More. A guest without FeatureConfine does not know
	// it.
	Confinement Confinement
}

// WaitForEnd is the value of Start.WaitMS without a limit.
const WaitForEnd = 1<<32 - 1

// Modes are the modes of a terminal, by Linux's numbers; see termios(3). Without Chars they are
// those of a new terminal.
type Modes struct {
	Input, Output, Local uint32
	// Chars are the control characters, c_cc, at most 255.
	Chars []byte
}

// Words has texts without a NUL, encoded. The zero Words is empty. A copy shares the words present
// when it was made.
type Words struct {
	n   uint32
	raw []byte
}

// Add appends a word. It does not check it: a guest refuses a word with a NUL. The first Add copies
// the words of a parsed payload, which never change.
func (w *Words) Add(word string) {
	w.raw = appendText32(w.raw, word)
	w.n++
}

// Len returns the number of words.
func (w Words) Len() int { return int(w.n) }

// All yields the words in order. The slices alias the payload or what Add copied.
func (w Words) All(yield func(word []byte) bool) {
	for raw := w.raw; len(raw) > 0; {
		var word []byte
		if word, raw = cutText(raw); !yield(word) {
			return
		}
	}
}

// Limit is a resource limit; getrlimit(2).
type Limit struct {
	// Resource is a RLIMIT_ number.
	Resource uint8
	// Soft and Hard are the limits; 2^64-1 means no limit.
	Soft, Hard uint64
}

const limitSize = 1 + 8 + 8

// Limits has resource limits, encoded. The zero Limits is empty. A copy shares the limits present
// when it was made.
type Limits struct{ raw []byte }

// Add appends a limit. It ignores limits after the 255th.
func (l *Limits) Add(limit Limit) {
	if l.Len() < 255 {
		l.raw = appendU64(appendU64(append(l.raw, limit.Resource), limit.Soft), limit.Hard)
	}
}

// Len returns the number of limits.
func (l Limits) Len() int { return len(l.raw) / limitSize }

// All yields the limits in order.
func (l Limits) All(yield func(Limit) bool) {
	for f := (fields{b: l.raw}); len(f.b) > 0; {
		if !yield(Limit{f.u8(), f.u64(), f.u64()}) {
			return
		}
	}
}

// AppendStart appends a start. It does not check what a guest refuses: no command, a NUL, an id of
// 0, a payload beyond MaxPayload.
func AppendStart(dst []byte, seq uint32, s *Start) []byte {
	start := len(dst)
	dst = begin(dst, TypeStart, seq)
	dst = append(appendU64(dst, s.ID), s.flags())
	dst = appendU32(appendU32(dst, s.TimeoutMS), s.KeepMS)
	dst = appendU32(appendU32(dst, s.OutputCredit), s.ErrorsCredit)
	dst = appendU64(dst, s.Cap)
	dst = appendU16(appendU16(dst, s.Rows), s.Columns)
	dst = appendText16(appendText16(dst, s.User), s.Dir)
	dst = append(appendU32(dst, s.Args.n), s.Args.raw...)
	dst = append(appendU32(dst, s.Env.n), s.Env.raw...)
	dst = append(append(dst, byte(s.Limits.Len())), s.Limits.raw...)
	if s.More {
		dst = appendU32(dst, s.WaitMS)
		dst = appendU32(appendU32(appendU32(dst, s.Modes.Input), s.Modes.Output), s.Modes.Local)
		dst = appendText8(dst, s.Modes.Chars)
		if s.Confinement.Any() {
			dst = appendText32(dst, s.Confinement.raw)
		}
	}
	return finish(dst, start)
}

func (s *Start) flags() (flags byte) {
	for i, set := range [...]bool{s.Shell, s.Stdin, s.Terminal, s.Merge, s.Only, s.More, s.More && s.Confinement.Any()} {
		if set {
			flags |= 1 << i
		}
	}
	if s.Loose {
		flags |= startLoose
	}
	return flags
}

// PayloadSize returns the length of s's payload in bytes. It must be at most MaxPayload to be sent.
func (s *Start) PayloadSize() int {
	n := 8 + 1 + 4 + 4 + 4 + 4 + 8 + 2 + 2 + 2 + len(s.User) + 2 + len(s.Dir) + 4 + len(s.Args.raw) + 4 + len(s.Env.raw) + 1 + len(s.Limits.raw)
	if s.More {
		n += 4 + 3*4 + 1 + len(s.Modes.Chars)
		if s.Confinement.Any() {
			n += 4 + len(s.Confinement.raw)
		}
	}
	return n
}

// ParseStart parses a whole payload, which s aliases. After an error (*PayloadError) s is
// unchanged.
func ParseStart(payload []byte, s *Start) error {
	f := fields{b: payload}
	var r Start
	r.ID = f.u64()
	flags := f.u8()
	r.Shell, r.Stdin, r.Terminal = flags&startShell != 0, flags&startStdin != 0, flags&startTerminal != 0
	r.Merge, r.Only, r.Loose = flags&startMerge != 0, flags&startOnly != 0, flags&startLoose != 0
	r.TimeoutMS, r.KeepMS = f.u32(), f.u32()
	r.OutputCredit, r.ErrorsCredit = f.u32(), f.u32()
	r.Cap = f.u64()
	r.Rows, r.Columns = f.u16(), f.u16()
	r.User, r.Dir = f.word16(), f.word16()
	r.Args = f.words()
	r.Env = f.env()
	r.Limits.raw = f.take(int(f.u8())*limitSize, reasonCount)
	if r.More = flags&startMore != 0; r.More {
		r.WaitMS = f.u32()
		r.Modes = Modes{Input: f.u32(), Output: f.u32(), Local: f.u32(), Chars: f.text8()}
	}
	if flags&startConfined != 0 {
		if !r.More {
			f.fail(reasonFlag)
		}
		r.Confinement = f.confinement()
	}
	switch {
	case f.reason != "":
	case r.ID == 0:
		f.fail(reasonID)
	case r.Args.n == 0, r.Shell && r.Args.n != 1:
		f.fail(reasonNoCommand)
	}
	if err := f.end(TypeStart); err != nil {
		return err
	}
	*s = r
	return nil
}

// words takes a count and as many words.
func (f *fields) words() (w Words) {
	w.n = f.u32()
	was := f.b
	for range f.count(w.n, 4) {
		f.word32()
	}
	w.raw = f.since(was)
	return w
}

// env takes a count and as many environment entries, by the rules of exec.
func (f *fields) env() (e Env) {
	e.n = f.u32()
	was := f.b
	for range f.count(e.n, entryMin) {
		switch key := f.word(f.text32(), reasonName); {
		case len(key) == 0:
			f.fail(reasonEmptyName)
		case bytes.IndexByte(key, '=') >= 0:
			f.fail(reasonName)
		}
		f.word(f.text32(), reasonValue)
	}
	e.raw = f.since(was)
	return e
}

// Started is the payload of started.
type Started struct {
	// PID is the process's pid in the guest.
	PID uint32
	// Taken is how many bytes of stdin the guest has taken since the start.
	Taken uint64
	// Credit is how many bytes more may be sent.
	Credit uint32
}

// AppendStarted appends a started, which answers an attach too.
func AppendStarted(dst []byte, seq uint32, s Started) []byte {
	dst = AppendHeader(dst, TypeStarted, seq, 4+8+4)
	return appendU32(appendU64(appendU32(dst, s.PID), s.Taken), s.Credit)
}

// ParseStarted parses a whole payload.
func ParseStarted(payload []byte) (Started, error) {
	f := fields{b: payload}
	s := Started{f.u32(), f.u64(), f.u32()}
	return s, f.end(TypeStarted)
}

// Attach is the payload of attach.
type Attach struct {
	// ID is the id of the process's start, and not 0.
	ID uint64
	// Output and Errors are how many bytes of stdout and stderr the host has.
	Output, Errors uint64
	// OutputCredit and ErrorsCredit are what may be sent of them, in bytes.
	OutputCredit, ErrorsCredit uint32
}

// AppendAttach appends an attach.
func AppendAttach(dst []byte, seq uint32, a *Attach) []byte {
	return appendAttach(AppendHeader(dst, TypeAttach, seq, attachSize), a)
}

// attachSize is the size of an attach, in bytes.
const attachSize = 8 + 8 + 8 + 4 + 4

func appendAttach(dst []byte, a *Attach) []byte {
	dst = appendU64(appendU64(appendU64(dst, a.ID), a.Output), a.Errors)
	return appendU32(appendU32(dst, a.OutputCredit), a.ErrorsCredit)
}

// ParseAttach parses a whole payload.
func ParseAttach(payload []byte) (Attach, error) {
	f := fields{b: payload}
	a := f.attach()
	return a, f.end(TypeAttach)
}

// attach takes the fields of an attach.
func (f *fields) attach() Attach {
	a := Attach{ID: f.u64(), Output: f.u64(), Errors: f.u64(), OutputCredit: f.u32(), ErrorsCredit: f.u32()}
	if f.reason == "" && a.ID == 0 {
		f.fail(reasonID)
	}
	return a
}
