package framing

// Type is the type byte of a frame.
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

// Header is what a frame says of itself before its payload.
type Header struct {
	Type Type
	// Seq is chosen by the asker and repeated in the reply; unsolicited frames carry 0.
	Seq uint32
	// Size is the number of payload bytes, 0 to MaxPayload.
	Size int
}
