package agent

import "strconv"

// What follows is in package strconv and strings too, whose own are several kB each for what they can do besides. What is called in
// many places is not inlined, which would be several kB more.

// cut is what stands before and after the first sep in s.
//
//go:noinline
func cut(s string, sep byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// parseNumber reads a decimal number of 32 bits.
//
//go:noinline
func parseNumber(s string) (n uint32, ok bool) {
	if s == "" || s[0]-'0' > 9 {
		return 0, false
	}
	wide, rest, ok := takeNumber(s)
	return uint32(wide), ok && rest == "" && wide <= 1<<32-1
}

// lastSlash is where the last slash of a path is, or -1.
//
//go:noinline
func lastSlash(path string) int {
	i := len(path) - 1
	for i >= 0 && path[i] != '/' {
		i--
	}
	return i
}

// num is a number as text.
//
//go:noinline
func num[T ~int | ~int32 | ~uint32 | ~int64 | ~uint8](n T) string { return decimal(int64(n)) }

//go:noinline
func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// quote writes a value as Go and most readers of logs do, byte by byte.
func quote(v string) string { return string(appendQuoted(nil, v)) }

// appendQuoted is quote. (strconv's tables of printable runes are 5 kB.)
//
//go:noinline
func appendQuoted(b []byte, v string) []byte {
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

// clip bounds a text to n bytes.
//
//go:noinline
func clip(text string, n int) string { return text[:min(len(text), n)] }
