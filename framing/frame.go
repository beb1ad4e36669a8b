package framing

// AppendHeader appends the header of a frame whose payload of size bytes follows. A size beyond
// MaxPayload is the caller's mistake and makes a frame at which the other side drops the
// connection.
//
//go:noinline
func AppendHeader(dst []byte, t Type, seq uint32, size int) []byte {
	return appendHeader(dst, t, seq, size)
}

// appendHeader is inlined where the header is most of the message.
func appendHeader(dst []byte, t Type, seq uint32, size int) []byte {
	length := uint32(MinLength + size)
	return append(dst,
		byte(length>>24), byte(length>>16), byte(length>>8), byte(length),
		byte(t),
		byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq))
}

// AppendFrame appends a frame with the given payload, at most MaxPayload bytes. It encodes ready,
// ping, pong, shutdown and shutdown_ack, and input, release, processes, stats and thaw.
func AppendFrame(dst []byte, t Type, seq uint32, payload []byte) []byte {
	return append(appendHeader(dst, t, seq, len(payload)), payload...)
}

// AppendCount appends the 32-bit count of a text of n bytes.
func AppendCount(dst []byte, n int) []byte { return appendU32(dst, uint32(n)) }

// AppendError appends an error frame. It cuts a message longer than MaxText bytes.
func AppendError(dst []byte, seq uint32, message string) []byte {
	message = message[:min(len(message), MaxText)]
	dst = AppendHeader(dst, TypeError, seq, 2+len(message))
	dst = appendU16(dst, uint16(len(message)))
	return append(dst, message...)
}

// ParseError parses the payload of an error. message aliases it, and may be empty.
func ParseError(payload []byte) (message []byte, err error) {
	return parseText(TypeError, payload)
}

// parseText parses a text with a 16-bit count that is all of b.
func parseText(t Type, b []byte) ([]byte, error) {
	if len(b) < 2 {
		return nil, &PayloadError{t, reasonShort}
	}
	if int(u16(b)) != len(b)-2 {
		return nil, &PayloadError{t, reasonCount}
	}
	return b[2:], nil
}
