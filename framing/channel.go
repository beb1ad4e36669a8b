package framing

// Stream is the number of a stream of a channel. A channel has the seq of the request that opened
// it.
type Stream uint8

// The streams of a process. Any other channel has at most StreamInput and StreamOutput.
const (
	StreamInput  Stream = 0 // to the guest
	StreamOutput Stream = 1 // from the guest: stdout
	StreamErrors Stream = 2 // from the guest: stderr
)

// MaxOutputData is the most content of one output frame, in bytes.
const MaxOutputData = 32 << 10

// OutputHeaderSize is what stands before the content of an output: the frame's header and the
// stream.
const OutputHeaderSize = HeaderSize + 1

// AppendOutputHead appends an output frame without its n bytes of content, at most MaxOutputData,
// which is not checked. An input has only the frame's header: use AppendHeader or AppendFrame.
func AppendOutputHead(dst []byte, seq uint32, s Stream, n int) []byte {
	return append(AppendHeader(dst, TypeOutput, seq, 1+n), byte(s))
}

// ParseOutput parses a whole payload, which data aliases. StreamInput is an error, because nothing
// comes from the guest on it.
func ParseOutput(payload []byte) (s Stream, data []byte, err error) {
	f := fields{b: payload}
	s = f.stream(StreamOutput)
	data = f.rest()
	return s, data, f.end(TypeOutput)
}

// stream takes the number of a stream, at least least.
func (f *fields) stream(least Stream) Stream {
	s := Stream(f.u8())
	if f.reason == "" && (s < least || s > StreamErrors) {
		f.fail(reasonStream)
	}
	return s
}

// AppendClose appends a close.
func AppendClose(dst []byte, seq uint32, s Stream) []byte {
	return append(AppendHeader(dst, TypeClose, seq, 1), byte(s))
}

// ParseClose parses a whole payload.
func ParseClose(payload []byte) (Stream, error) {
	f := fields{b: payload}
	s := f.stream(StreamInput)
	return s, f.end(TypeClose)
}

// AppendCredit appends a credit: the peer may send n bytes of content more than was granted before.
func AppendCredit(dst []byte, seq uint32, s Stream, n uint32) []byte {
	return appendU32(append(AppendHeader(dst, TypeCredit, seq, 1+4), byte(s)), n)
}

// ParseCredit parses a whole payload.
func ParseCredit(payload []byte) (s Stream, n uint32, err error) {
	f := fields{b: payload}
	s, n = f.stream(StreamInput), f.u32()
	return s, n, f.end(TypeCredit)
}

// AppendResize appends a resize, in characters.
func AppendResize(dst []byte, seq uint32, rows, columns uint16) []byte {
	return appendU16(appendU16(AppendHeader(dst, TypeResize, seq, 2+2), rows), columns)
}

// ParseResize parses a whole payload.
func ParseResize(payload []byte) (rows, columns uint16, err error) {
	f := fields{b: payload}
	rows, columns = f.u16(), f.u16()
	return rows, columns, f.end(TypeResize)
}
