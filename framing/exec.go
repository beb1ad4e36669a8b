package framing

// flagRoot is a flag of exec, spawn_watch ("run as root") and write_file ("write as root").
// flagStream is a flag of spawn_watch alone.
const (
	flagRoot   = 1
	flagStream = 2
)

// execFlags returns the flags that a message of type t may have.
func execFlags(t Type) byte {
	if t == TypeSpawnWatch {
		return flagRoot | flagStream
	}
	return flagRoot
}

// Sizes of an exec's fixed fields in bytes: timeout and count, and in the longer form the flags
// between them.
const (
	execShort = 4 + 4
	execLong  = 4 + 1 + 4
)

// Exec is the payload of exec and spawn_watch.
type Exec struct {
	// TimeoutMS is in milliseconds from the start; 0 means no limit.
	TimeoutMS uint32
	// Root runs the command as root.
	Root bool
	// Command is for sh -c: any bytes but NUL, possibly empty.
	Command []byte
	// Env is added to the guest's own environment.
	Env Env
	// Stream sends stdout as it is written, in stdout_chunks. It is only for a spawn_watch.
	Stream bool
	// Log is the path of a file in the guest to which stdout is appended, and which implies Stream.
	// It is only for a spawn_watch; empty means no log.
	Log []byte
}

// short reports whether e fits the short form, which has only a timeout and a command.
func (e *Exec) short() bool { return !e.Root && !e.Stream && !e.counted() }

// counted reports whether the count of entries is encoded: if there are entries, or something
// follows them.
func (e *Exec) counted() bool { return e.Env.n > 0 || len(e.Log) > 0 }

// PayloadSize returns the length of e's payload in bytes. It must be at most MaxPayload to be sent.
func (e *Exec) PayloadSize() int {
	if e.short() {
		return execShort + len(e.Command)
	}
	n := execLong + len(e.Command)
	if e.counted() {
		n += 4 + e.Env.Size()
	}
	if len(e.Log) > 0 {
		n += 2 + len(e.Log)
	}
	return n
}

// AppendExec appends an exec or spawn_watch frame, as t says, in the short form if possible. It
// does not check what a guest refuses: a NUL in the command, a bad environment entry, a Stream or
// Log of an exec, a payload beyond MaxPayload. It panics if Log is longer than MaxText.
func AppendExec(dst []byte, t Type, seq uint32, e *Exec) []byte {
	if len(e.Log) > MaxText {
		panic("framing: log path longer than MaxText")
	}
	dst = AppendHeader(dst, t, seq, e.PayloadSize())
	dst = appendU32(dst, e.TimeoutMS)
	if !e.short() {
		var flags byte
		if e.Root {
			flags |= flagRoot
		}
		if e.Stream {
			flags |= flagStream
		}
		dst = append(dst, flags)
	}
	dst = appendU32(dst, uint32(len(e.Command)))
	dst = append(dst, e.Command...)
	if e.counted() {
		dst = appendU32(dst, e.Env.n)
		dst = append(dst, e.Env.raw...)
	}
	if len(e.Log) > 0 {
		dst = appendText16(dst, e.Log)
	}
	return dst
}

// ParseExec parses the whole payload of an exec or spawn_watch into e, whose slices alias payload.
// It allocates only the error (*PayloadError). After an error e is unchanged.
func ParseExec(t Type, payload []byte, e *Exec) error {
	// ExecChecker has the grammar, so what it accepts needs only to be cut up.
	var c ExecChecker
	c.Reset(t, len(payload))
	c.Check(payload)
	if err := c.Finish(); err != nil {
		return err
	}
	*e = Exec{TimeoutMS: u32(payload)}
	text := payload[4:]
	if !isShortExec(u32(payload[4:]), len(payload)-execShort) {
		e.Root, e.Stream = payload[4]&flagRoot != 0, payload[4]&flagStream != 0
		text = payload[5:]
	}
	var rest []byte
	if e.Command, rest = cutText(text); len(rest) == 0 {
		return nil
	}
	e.Env, rest = cutEnv(rest)
	if len(rest) > 0 {
		e.Log = rest[2:]
	}
	return nil
}

// isShortExec distinguishes the forms by n, the bytes 4 to 7 read as a count, and rest, the number
// of bytes after them. In the short form the count is exact. No payload is exact in both forms. In
// the longer form these four bytes are the flags and the upper three of the count. So n is beyond
// any payload if a flag is set, and otherwise at most 1/256 of it.
func isShortExec(n uint32, rest int) bool { return uint64(n) == uint64(rest) }
