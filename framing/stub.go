package framing

// String returns the message's name ("exec_result"), or "0x42" (two digits, upper case) for a type without one.
func (t Type) String() string { panic("stub") }

// FromHost reports whether a host may send frames of this type.
func (t Type) FromHost() bool { panic("stub") }

// A LengthError is a length field outside MinLength..MaxLength; the stream cannot be resynchronised.
type LengthError struct{ Length uint32 }

func (e *LengthError) Error() string { panic("stub") }

// A PayloadError is a payload that cannot be parsed. Error() reads "exec: payload is short" and the like.
type PayloadError struct {
	Type   Type
	Reason string
}

func (e *PayloadError) Error() string { panic("stub") }

// Part is a whole frame, or a piece of one longer than the decoder's window.
type Part struct {
	Header
	// Offset is where in the payload Data begins.
	Offset int
	// Data aliases the bytes given to Next.
	Data []byte
}

// First and Last report whether the part begins and ends its frame's payload. A whole frame is both.
func (p *Part) First() bool { panic("stub") }
func (p *Part) Last() bool  { panic("stub") }

// Decoder cuts a byte stream into frames. It holds no bytes: what Next does not take the caller keeps, and
// gives again with more behind it. The zero Decoder with Window set is ready.
type Decoder struct {
	// Window is the capacity of the caller's buffer: a frame (header and payload) of at most so many bytes is handed out whole,
	// a longer one in pieces as they come.
	Window int
}

// Next takes the next part off the front of b into p and returns the bytes taken. 0 and nil: b must grow. A
// *LengthError is final, and every later call returns it.
func (d *Decoder) Next(b []byte, p *Part) (n int, err error) { panic("stub") }

// Mid reports whether the decoder stands within a frame that it hands out in pieces.
func (d *Decoder) Mid() bool { panic("stub") }

// Encoders append one whole frame to dst and return the extended slice; none allocates if dst has the room.

func AppendHeader(dst []byte, t Type, seq uint32, size int) []byte { panic("stub") }

// AppendFrame appends a frame with the given payload: the encoder of ready, ping, pong, shutdown, shutdown_ack.
func AppendFrame(dst []byte, t Type, seq uint32, payload []byte) []byte { panic("stub") }

// Env is the environment entries of an exec, in their wire form. The zero Env is empty.
type Env struct {
	n   uint32
	raw []byte
}

// Add appends an entry.
func (e *Env) Add(key, value []byte) { panic("stub") }

// Len is the number of entries; Size their bytes on the wire.
func (e Env) Len() int  { panic("stub") }
func (e Env) Size() int { panic("stub") }

// All yields the entries in order: for key, value := range env.All. The slices alias the payload.
func (e Env) All(yield func(key, value []byte) bool) { panic("stub") }

// Exec is the payload of exec and spawn_watch.
type Exec struct {
	TimeoutMS uint32 // milliseconds from the spawn; 0 = none
	Root      bool
	Command   []byte
	Env       Env
}

// AppendExec appends an exec or spawn_watch frame (t says which): the short form if neither Root nor Env is set.
func AppendExec(dst []byte, t Type, seq uint32, e *Exec) []byte { panic("stub") }

// ParseExec parses the whole payload of an exec or spawn_watch into e; its slices alias payload. Nothing is allocated but the error (*PayloadError).
func ParseExec(t Type, payload []byte, e *Exec) error { panic("stub") }

// ExecChecker checks a payload that is too long to hold, as it passes by: the same grammar as ParseExec.
type ExecChecker struct{}

// Reset begins a payload of size bytes of a frame of type t.
func (c *ExecChecker) Reset(t Type, size int) { panic("stub") }

// Check takes the next piece. The first error is kept and returned by every later call.
func (c *ExecChecker) Check(piece []byte) error { panic("stub") }

// Finish reports the payload's error, once all pieces were given.
func (c *ExecChecker) Finish() error { panic("stub") }

// ExecResult is the payload of exec_result.
type ExecResult struct {
	ExitCode       int32
	Stdout, Stderr []byte
}

// MaxOutput is the most bytes of stdout and stderr together that fit an exec_result; process_exit has room for 4 fewer.
const MaxOutput = MaxPayload - 12

func AppendExecResult(dst []byte, seq uint32, r *ExecResult) []byte         { panic("stub") }
func AppendProcessExit(dst []byte, pid uint32, r *ExecResult) []byte        { panic("stub") }
func ParseExecResult(payload []byte, r *ExecResult) error                   { panic("stub") }
func ParseProcessExit(payload []byte, r *ExecResult) (pid uint32, err error) { panic("stub") }

// For a result whose output is not in memory: the frame is AppendExecResultHead (or AppendProcessExitHead), stdout, AppendCount(nerr), stderr.
func AppendExecResultHead(dst []byte, seq uint32, exitCode int32, nout, nerr int) []byte {
	panic("stub")
}
func AppendProcessExitHead(dst []byte, pid uint32, exitCode int32, nout, nerr int) []byte {
	panic("stub")
}
func AppendCount(dst []byte, n int) []byte { panic("stub") }

// WriteFile is the head of a write_file: all but its content.
type WriteFile struct {
	Path []byte
	Sudo bool
	Size int // content bytes
}

// AppendWriteFileHead appends header and head; w.Size bytes of content follow.
func AppendWriteFileHead(dst []byte, seq uint32, w *WriteFile) []byte { panic("stub") }

// ParseWriteFile parses a whole payload; w.Path and content alias it.
func ParseWriteFile(payload []byte, w *WriteFile) (content []byte, err error) { panic("stub") }

// MaxPath is the longest path the WriteFileParser keeps (PATH_MAX with its NUL); see PathLen.
const MaxPath = 4096

// WriteFileParser parses a write_file that comes in pieces, whatever their cuts.
type WriteFileParser struct{}

// Reset begins a payload of size bytes.
func (w *WriteFileParser) Reset(size int) { panic("stub") }

// Parse takes the next piece and returns what of it is content (a subslice; empty while the head is incomplete).
func (w *WriteFileParser) Parse(piece []byte) (content []byte, err error) { panic("stub") }

// Head returns the head once it is complete. A path longer than MaxPath is cut there and PathLen is its true length.
func (w *WriteFileParser) Head() (h WriteFile, ok bool) { panic("stub") }
func (w *WriteFileParser) PathLen() int                 { panic("stub") }

// Finish reports the payload's error, once all pieces were given.
func (w *WriteFileParser) Finish() error { panic("stub") }

// AppendWriteFileResult: an empty reason is success.
func AppendWriteFileResult(dst []byte, seq uint32, reason string) []byte { panic("stub") }
func ParseWriteFileResult(payload []byte) (reason []byte, ok bool, err error) {
	panic("stub")
}
func AppendSpawnResult(dst []byte, seq uint32, pid uint32) []byte { panic("stub") }
func ParseSpawnResult(payload []byte) (pid uint32, err error)     { panic("stub") }

// AppendError cuts a message that is longer than 65535 bytes.
func AppendError(dst []byte, seq uint32, message string) []byte { panic("stub") }
func ParseError(payload []byte) (message []byte, err error)      { panic("stub") }
