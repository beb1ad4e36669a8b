package framing

// Identity is the payload of identity.
type Identity struct {
	// UnixNS is the time in nanoseconds since 1970, or 0 to leave the clock.
	UnixNS uint64
	// Entropy is for the kernel's generator. A guest takes 512 bytes.
	Entropy []byte
	// Words say who the machine is, as "--hostname=clone-7". The guest judges their meaning.
	Words NetworkWords
}

// AppendIdentity appends an identity.
func AppendIdentity(dst []byte, seq uint32, m *Identity) []byte {
	start := len(dst)
	dst = appendText16(appendU64(begin(dst, TypeIdentity, seq), m.UnixNS), m.Entropy)
	return finish(append(appendU16(dst, m.Words.n), m.Words.raw...), start)
}

// ParseIdentity parses a whole payload, which the result aliases.
func ParseIdentity(payload []byte) (Identity, error) {
	f := fields{b: payload}
	m := Identity{UnixNS: f.u64(), Entropy: f.text16()}
	m.Words = f.networkWords()
	return m, f.end(TypeIdentity)
}

// IdentityResult is the payload of identity_result. The zero IdentityResult has no parts.
type IdentityResult struct {
	// Epoch is how many restores of the machine the guest knows of.
	Epoch uint64
	n     uint16
	raw   []byte
}

// IdentityPart is what became of one part of an identity.
type IdentityPart struct {
	Name []byte // such as "clock"; extension.md lists them
	Done        // its reason says what was done if Errno is 0
}

// Add appends a part. A name is cut to 255 bytes and a reason to MaxText.
func (m *IdentityResult) Add(name string, errno uint32, value uint64, reason string) {
	if m.n < maxCount {
		m.raw = appendU64(appendU32(appendText8(m.raw, name), errno), value)
		m.raw = appendText16(m.raw, reason)
		m.n++
	}
}

// Len returns the number of parts.
func (m IdentityResult) Len() int { return int(m.n) }

// All yields the parts in the order in which they were done. They alias the payload, or what Add
// copied.
func (m IdentityResult) All(yield func(IdentityPart) bool) {
	for r := (fields{b: m.raw}); len(r.b) > 0; {
		if !yield(IdentityPart{r.text8(), Done{r.u32(), r.u64(), r.text16()}}) {
			return
		}
	}
}

// AppendIdentityResult appends an identity_result.
func AppendIdentityResult(dst []byte, seq uint32, m IdentityResult) []byte {
	dst = AppendHeader(dst, TypeIdentityResult, seq, 8+2+len(m.raw))
	return append(appendU16(appendU64(dst, m.Epoch), m.n), m.raw...)
}

// ParseIdentityResult parses a whole payload, which the parts alias.
func ParseIdentityResult(payload []byte) (IdentityResult, error) {
	f := fields{b: payload}
	m := IdentityResult{Epoch: f.u64(), n: f.u16()}
	was := f.b
	for range f.count(uint32(m.n), 1+4+8+2) {
		f.text8()
		f.u32()
		f.u64()
		f.text16()
	}
	m.raw = f.since(was)
	if err := f.end(TypeIdentityResult); err != nil {
		return IdentityResult{}, err
	}
	return m, nil
}
