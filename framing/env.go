package framing

// Env is the environment entries of an exec or a start, in their wire form. The zero Env is empty. A copy shares the entries
// that were there when it was made.
type Env struct {
	n   uint32
	raw []byte // n × [u32][key][u32][value], known to be well formed
}

// entryMin is the size of the shortest entry's counts.
const entryMin = 4 + 4

// Add appends an entry, copying key and value. It checks nothing: a guest refuses an entry with an empty key, a `=`
// or NUL in the key, or a NUL in the value. The entries of a parsed payload are copied by the first Add, never changed.
func (e *Env) Add(key, value []byte) {
	e.raw = appendText32(appendText32(e.raw, key), value)
	e.n++
}

// Len is the number of entries.
func (e Env) Len() int { return int(e.n) }

// Size is the number of bytes that the entries take on the wire, without the count before them.
func (e Env) Size() int { return len(e.raw) }

// All yields the entries in order: for key, value := range env.All. The slices alias the payload (or what Add
// copied). Where a name occurs more than once the last entry wins, which is for the reader to do.
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

// cutEnv takes counted entries off the front of raw, which is known to hold them.
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
