package framing

// Type is the type byte of a frame. Any value may arrive; String and FromHost take them all.
type Type uint8

// The message types. The comment gives the direction: G is the guest, H the host.
const (
	TypeReady           Type = 0x00 // G→H
	TypePing            Type = 0x01 // H→G
	TypePong            Type = 0x02 // G→H
	TypeExec            Type = 0x03 // H→G
	TypeExecResult      Type = 0x04 // G→H
	TypeWriteFile       Type = 0x05 // H→G
	TypeWriteFileResult Type = 0x06 // G→H
	TypeSpawnWatch      Type = 0x07 // H→G
	TypeSpawnResult     Type = 0x08 // G→H
	TypeProcessExit     Type = 0x09 // G→H
	TypeShutdown        Type = 0x0A // H→G
	TypeShutdownAck     Type = 0x0B // G→H
	TypeError           Type = 0xFF // G→H
)

// Sizes of a frame, in bytes.
const (
	// HeaderSize is what stands before the payload: length, type and seq.
	HeaderSize = 4 + 1 + 4
	// MinLength is the least value of the length field: type and seq, no payload.
	MinLength = 1 + 4
	// MaxLength is the greatest value of the length field.
	MaxLength = 16 << 20
	// MaxPayload is the longest payload.
	MaxPayload = MaxLength - MinLength
)

// MaxText is the most bytes of a text with a 16-bit count: a path, the message of an error, the reason of a
// write_file_result.
const MaxText = 1<<16 - 1

// Header is what a frame says of itself before its payload.
type Header struct {
	Type Type
	// Seq is chosen by the asker and repeated in the reply; unsolicited frames carry 0.
	Seq uint32
	// Size is the number of payload bytes, 0 to MaxPayload.
	Size int
}

// String returns the message's name ("exec_result"), or "0x42" (two digits, upper case) for a type without one.
// Only the latter allocates.
func (t Type) String() string {
	switch t {
	case TypeReady:
		return "ready"
	case TypePing:
		return "ping"
	case TypePong:
		return "pong"
	case TypeExec:
		return "exec"
	case TypeExecResult:
		return "exec_result"
	case TypeWriteFile:
		return "write_file"
	case TypeWriteFileResult:
		return "write_file_result"
	case TypeSpawnWatch:
		return "spawn_watch"
	case TypeSpawnResult:
		return "spawn_watch_result"
	case TypeProcessExit:
		return "process_exit"
	case TypeShutdown:
		return "shutdown"
	case TypeShutdownAck:
		return "shutdown_ack"
	case TypeError:
		return "error"
	}
	const digits = "0123456789ABCDEF"
	return string([]byte{'0', 'x', digits[t>>4], digits[t&15]})
}

// FromHost reports whether a host may send frames of this type. It is false for TypeError, which a guest that
// gets one nevertheless logs and does not answer.
func (t Type) FromHost() bool {
	switch t {
	case TypePing, TypeExec, TypeWriteFile, TypeSpawnWatch, TypeShutdown:
		return true
	}
	return false
}
