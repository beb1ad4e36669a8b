package framing

// NetworkWords are the words of a network configuration, in wire form: the payload of network. The
// zero NetworkWords is empty, which configures no interface.
type NetworkWords struct {
	n   uint16
	raw []byte
}

// Add appends a word. A word is cut to MaxText bytes; of more than 65535 words the later ones are
// left out.
func (w *NetworkWords) Add(word string) {
	if w.n < maxCount {
		w.raw = appendText16(w.raw, word)
		w.n++
	}
}

// Len is the number of words.
func (w NetworkWords) Len() int { return int(w.n) }

// All yields the words in order. They alias the payload, or what Add copied.
func (w NetworkWords) All(yield func(word []byte) bool) {
	for r := (fields{b: w.raw}); len(r.b) > 0; {
		if !yield(r.text16()) {
			return
		}
	}
}

// AppendNetwork appends a network.
func AppendNetwork(dst []byte, seq uint32, w NetworkWords) []byte {
	dst = AppendHeader(dst, TypeNetwork, seq, 2+len(w.raw))
	return append(appendU16(dst, w.n), w.raw...)
}

// ParseNetwork parses a whole payload, which the words alias. The agent judges their meaning.
func ParseNetwork(payload []byte) (NetworkWords, error) {
	f := fields{b: payload}
	w := f.networkWords()
	if err := f.end(TypeNetwork); err != nil {
		return NetworkWords{}, err
	}
	return w, nil
}

func (f *fields) networkWords() NetworkWords {
	w := NetworkWords{n: f.u16()}
	was := f.b
	for range f.count(uint32(w.n), 2) {
		f.word16()
	}
	w.raw = f.since(was)
	return w
}

// AppendFacts appends a facts frame.
func AppendFacts(dst []byte, seq uint32, f Facts) []byte {
	return f.append(AppendHeader(dst, TypeFacts, seq, 2+len(f.raw)))
}

// ParseFacts parses a whole payload, which the facts alias.
func ParseFacts(payload []byte) (Facts, error) {
	f := fields{b: payload}
	facts := f.facts()
	if err := f.end(TypeFacts); err != nil {
		return Facts{}, err
	}
	return facts, nil
}
