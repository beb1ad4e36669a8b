package framing

import "strconv"

// A LengthError is a length field outside MinLength..MaxLength. The stream cannot be
// resynchronised.
type LengthError struct {
	// Length is the field's value.
	Length uint32
}

// Error reads "frame length 4 is outside 5..16777216".
func (e *LengthError) Error() string {
	return "frame length " + strconv.FormatUint(uint64(e.Length), 10) + " is outside " +
		strconv.Itoa(MinLength) + ".." + strconv.Itoa(MaxLength)
}

// A PayloadError is a payload that cannot be parsed. The stream can still be read, because its
// frame was cut correctly.
type PayloadError struct {
	// Type is the message's type.
	Type Type
	// Reason is lower case, without the message's name.
	Reason string
}

// Error reads "exec: payload is short" and the like.
func (e *PayloadError) Error() string { return e.Type.String() + ": " + e.Reason }

// These are the reasons of a PayloadError. They are constants, so that refusing a payload costs one
// small allocation whatever the payload holds.
const (
	// reasonShort is a payload that ends within its fixed fields.
	reasonShort = "payload is short"
	// reasonLong is a payload that continues after its last field.
	reasonLong = "payload is long"
	// reasonCount is a count that leads beyond the payload's end, or leaves bytes before it.
	reasonCount     = "a count does not add up"
	reasonFlag      = "unknown flag"
	reasonSuccess   = "success is neither 0 nor 1"
	reasonCommand   = "NUL in the command"
	reasonPath      = "NUL in the path"
	reasonLog       = "log path is empty, or has a NUL"
	reasonEmptyName = "empty name in the environment"
	reasonName      = "NUL or = in a name of the environment"
	reasonValue     = "NUL in a value of the environment"
	reasonText      = "NUL in a text"
	reasonID        = "id is 0"
	reasonNoCommand = "no command"
	reasonStream    = "no such stream"
	reasonEntry     = "no name of a directory's entry"
	reasonKind      = "unknown kind of confinement"
	reasonRelative  = "path of the confinement is not absolute, or of a sysctl or limit not relative"
	reasonFilter    = "filter is not 1 to 4096 instructions of 8 bytes"
	reasonTwice     = "too many entries of the confinement, or of one kind"
	reasonNamespace = "confinement needs a namespace of its own"
	reasonHost      = "name of the host has more than 64 bytes"
	reasonConfine   = "confinement without an entry"
)
