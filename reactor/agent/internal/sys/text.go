package sys

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Packages strconv and strings have these functions too, but theirs add several kB each to the
// program.

// Cut splits s at the first sep. Without a sep, before is all of s.
func Cut(s string, sep byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// ParseNumber parses a decimal number of 32 bits, without a sign.
func ParseNumber(s string) (n uint32, ok bool) {
	if s == "" || s[0]-'0' > 9 {
		return 0, false
	}
	wide, rest, ok := TakeNumber(s)
	return uint32(wide), ok && rest == "" && wide <= 1<<32-1
}

// After returns what follows the first mark in s. Without a mark it returns nothing.
func After(s, mark string) (after string, found bool) {
	for i := 0; i+len(mark) <= len(s); i++ {
		if s[i:i+len(mark)] == mark {
			return s[i+len(mark):], true
		}
	}
	return "", false
}

// LastSlash returns the index of the last slash in a path, or -1.
func LastSlash(path string) int {
	i := len(path) - 1
	for i >= 0 && path[i] != '/' {
		i--
	}
	return i
}

// Num returns a number as decimal text.
func Num[T ~int | ~int32 | ~uint32 | ~int64 | ~uint8](n T) string { return Decimal(int64(n)) }

// Decimal returns n as decimal text, as Num does.
func Decimal(n int64) string { return strconv.FormatInt(n, 10) }

// Quote returns v in double quotes, escaped byte by byte as Go does it.
func Quote(v string) string { return string(AppendQuoted(nil, v)) }

// AppendQuoted appends the result of Quote to b. Package strconv's own has 5 kB of tables.
func AppendQuoted(b []byte, v string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(v) {
		switch c := v[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// Clip returns the first n bytes of a text, or all of it if it is shorter.
func Clip(text string, n int) string { return text[:min(len(text), n)] }

// SignalText returns the name of a signal, or its number.
func SignalText(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return Num(int(sig))
}
