package framing

// lookFollow is the flag of a look.
const lookFollow = 1 << 0

// Look is the payload of look.
type Look struct {
	// Follow asks for the output that is still to come, too.
	Follow bool
	// ID is the id of the process's start, and not 0.
	ID uint64
	// Output and Errors are the bytes of stdout and stderr from which on they are wanted.
	Output, Errors uint64
	// OutputCredit and ErrorsCredit are what may be sent of them, in bytes.
	OutputCredit, ErrorsCredit uint32
}

// AppendLook appends a look.
func AppendLook(dst []byte, seq uint32, l *Look) []byte {
	dst = AppendHeader(dst, TypeLook, seq, 1+attachSize)
	flags := byte(0)
	if l.Follow {
		flags = lookFollow
	}
	a := Attach{l.ID, l.Output, l.Errors, l.OutputCredit, l.ErrorsCredit}
	return appendAttach(append(dst, flags), &a)
}

// ParseLook parses a whole payload.
func ParseLook(payload []byte) (Look, error) {
	f := fields{b: payload}
	flags := f.u8()
	f.known(uint16(flags), lookFollow)
	a := f.attach()
	l := Look{flags&lookFollow != 0, a.ID, a.Output, a.Errors, a.OutputCredit, a.ErrorsCredit}
	return l, f.end(TypeLook)
}
