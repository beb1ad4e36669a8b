package framing

import "bytes"

// ExecChecker checks a payload that is too long to hold, piece by piece. It has the same grammar as
// ParseExec, and the same errors. It keeps no more than the current number. Call Reset first.
//
// An error is found at the earliest byte that makes it certain. In particular a count is compared
// with the rest of the payload as soon as it was read.
type ExecChecker struct {
	err   error
	left  int // bytes of the payload to come
	text  int // bytes to come of the current text; 0 within a number
	count uint32
	typ   Type
	field execField
	have  uint8 // bytes of num read,
	want  uint8 // and wanted
	num   [execLong]byte
}

// execField is a part of an exec's payload: numbers, and the text that they count.
type execField uint8

const (
	_ execField = iota // before Reset
	// execCommand begins with the timeout and, in the longer form, the flags.
	execCommand
	// execCount is the number of environment entries.
	execCount
	execKey
	execValue
	// execLog is the path that may follow the entries of a spawn_watch. Its count has 16 bits.
	execLog
	execDone
)

// Reset begins a payload of size bytes of a frame of type t.
func (c *ExecChecker) Reset(t Type, size int) {
	*c = ExecChecker{typ: t, left: size, field: execCommand, want: execShort}
	if size < execShort {
		c.fail(reasonShort)
	}
}

// Check checks the next piece, of any length. It keeps the first error (*PayloadError) and returns
// it from then on.
func (c *ExecChecker) Check(piece []byte) error {
	if len(piece) > c.left {
		c.fail(reasonCount)
	}
	for len(piece) > 0 && c.err == nil {
		if c.text == 0 {
			n := copy(c.num[c.have:c.want], piece)
			c.have += uint8(n)
			c.left -= n
			piece = piece[n:]
			if c.have == c.want {
				c.endNumber()
			}
			continue
		}
		n := min(c.text, len(piece))
		c.checkText(piece[:n])
		c.text -= n
		c.left -= n
		piece = piece[n:]
		if c.text == 0 {
			c.endText()
		}
	}
	return c.err
}

// Finish returns the payload's error after the last piece. Missing pieces are an error too.
func (c *ExecChecker) Finish() error {
	if c.field != execDone {
		c.fail(reasonShort)
	}
	return c.err
}

// fail keeps the first error.
//
//go:noinline
func (c *ExecChecker) fail(reason string) {
	if c.err == nil {
		c.err = &PayloadError{c.typ, reason}
	}
}

// beginNumber begins a field with a 32-bit number.
func (c *ExecChecker) beginNumber(f execField) {
	if c.left < 4 {
		c.fail(reasonCount)
	}
	c.field, c.have, c.want = f, 0, 4
}

// endNumber handles the current number, now complete.
func (c *ExecChecker) endNumber() {
	switch c.field {
	case execCommand:
		c.endHead()
	case execCount:
		c.count = u32(c.num[:])
		switch {
		case c.count == 0:
			c.endEnv()
		case uint64(c.count)*entryMin > uint64(c.left):
			c.fail(reasonCount)
		default:
			c.beginNumber(execKey)
		}
	case execKey:
		n := u32(c.num[:])
		if n == 0 {
			c.fail(reasonEmptyName)
			return
		}
		c.beginText(n)
	case execValue:
		c.beginText(u32(c.num[:]))
	case execLog:
		n := u16(c.num[:])
		switch {
		case n == 0:
			c.fail(reasonLog)
		case int(n) != c.left:
			c.fail(reasonCount)
		default:
			c.beginText(uint32(n))
		}
	}
}

// endHead determines the form, and then begins the command.
func (c *ExecChecker) endHead() {
	if c.want == execShort {
		if n := u32(c.num[4:]); isShortExec(n, c.left) {
			c.beginText(n)
			return
		}
		if c.left < execLong-execShort {
			c.fail(reasonCount)
		}
		c.want = execLong
		return
	}
	if c.num[4]&^execFlags(c.typ) != 0 {
		c.fail(reasonFlag)
		return
	}
	c.beginText(u32(c.num[5:]))
}

// beginText begins the n bytes of the field's text.
func (c *ExecChecker) beginText(n uint32) {
	if !within(n, c.left) {
		c.fail(reasonCount)
		return
	}
	c.text = int(n)
	if n == 0 {
		c.endText()
	}
}

// checkText checks for bytes that the field's text must not have.
func (c *ExecChecker) checkText(b []byte) {
	switch nul := bytes.IndexByte(b, 0) >= 0; c.field {
	case execCommand:
		if nul {
			c.fail(reasonCommand)
		}
	case execKey:
		if nul || bytes.IndexByte(b, '=') >= 0 {
			c.fail(reasonName)
		}
	case execValue:
		if nul {
			c.fail(reasonValue)
		}
	case execLog:
		if nul {
			c.fail(reasonLog)
		}
	}
}

// endText begins what follows the field's text.
func (c *ExecChecker) endText() {
	switch c.field {
	case execCommand:
		// The environment is optional.
		if c.left == 0 {
			c.end()
			return
		}
		c.beginNumber(execCount)
	case execKey:
		c.beginNumber(execValue)
	case execValue:
		c.count--
		if c.count == 0 {
			c.endEnv()
			return
		}
		c.beginNumber(execKey)
	case execLog:
		c.end()
	}
}

// endEnv begins what follows the entries.
func (c *ExecChecker) endEnv() {
	if c.left < 2 || c.typ != TypeSpawnWatch {
		c.end()
		return
	}
	c.field, c.have, c.want = execLog, 0, 2
}

// end ends the grammar. The payload must end too.
func (c *ExecChecker) end() {
	if c.left > 0 {
		c.fail(reasonCount)
		return
	}
	c.field = execDone
}
