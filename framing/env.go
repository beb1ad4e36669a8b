package framing

// Env has the environment entries of an exec or a start, encoded. The zero Env is empty. A copy
// shares the entries present when it was made.
type Env struct {
	n   uint32
	raw []byte // n × [u32][key][u32][value], known to be well formed
}

// entryMin is the size of the counts of one entry.
const entryMin = 4 + 4

// Add appends an entry, and copies key and value. It does not check them: a guest refuses an empty
// key, a `=` or NUL in the key, and a NUL in the value. The first Add copies the entries of a
// parsed payload, which never change.
func (e *Env) Add(key, value []byte) {
	e.raw = appendText32(appendText32(e.raw, key), value)
	e.n++
}

// Len returns the number of entries.
func (e Env) Len() int { return int(e.n) }

// Size returns the number of encoded bytes, without the count before them.
func (e Env) Size() int { return len(e.raw) }

// All yields the entries in order: for key, value := range env.All. The slices alias the payload or
// what Add copied. If a name occurs more than once the last entry wins; the caller must do that.
func (e Env) All(yield func(key, value []byte) bool) {
	for raw := e.raw; len(raw) > 0; {
		var key, value []byte
		key, raw = cutText(raw)
		value, raw = cutText(raw)
		if !yield(key, value) {
			return
		}
	}
}

// cutEnv parses counted entries at the beginning of raw, which is known to hold them.
func cutEnv(raw []byte) (e Env, rest []byte) {
	e.n, raw = u32(raw), raw[4:]
	rest = raw
	for range 2 * e.n {
		_, rest = cutText(rest)
	}
	n := len(raw) - len(rest)
	if n > 0 {
		e.raw = raw[:n:n]
	}
	return e, rest
}

// cutText takes a text with its 32-bit count off the front of raw, which is known to hold it.
//
//go:noinline
func cutText(raw []byte) (text, rest []byte) {
	end := 4 + int(u32(raw))
	return raw[4:end:end], raw[end:]
}
