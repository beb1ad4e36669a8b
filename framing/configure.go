package framing

// SecretKind says what a record of configure does.
type SecretKind uint8

// The kinds.
const (
	SecretRemove SecretKind = iota // forgets the secrets of that name
	SecretEnv                      // an entry of the environment of commands
	SecretFile                     // a file below /run/secrets
)

// Secret is a record of configure.
type Secret struct {
	Kind SecretKind
	// Mode has the permission bits of a file.
	Mode uint16
	// Owner is the owner of a file, as the user of a start has it. It has no NUL.
	Owner []byte
	// Name has no NUL, and at most 255 bytes.
	Name  []byte
	Value []byte
}

// Secrets are the secrets of a configure, in wire form. The zero Secrets is empty. A copy shares
// the secrets present when it was made.
type Secrets struct {
	n   uint16
	raw []byte
}

// Add appends a secret. Its name is cut to 255 bytes; of more than 65535 secrets the later ones
// are left out.
func (l *Secrets) Add(s *Secret) {
	if l.n < maxCount {
		l.raw = appendU16(append(l.raw, byte(s.Kind)), s.Mode)
		l.raw = appendText32(appendText8(appendText16(l.raw, s.Owner), s.Name), s.Value)
		l.n++
	}
}

// Len returns the number of secrets.
func (l Secrets) Len() int { return int(l.n) }

// All yields the secrets in order. They alias the payload, or what Add copied.
func (l Secrets) All(yield func(s *Secret) bool) {
	for r := (fields{b: l.raw}); len(r.b) > 0; {
		s := r.secret()
		if !yield(&s) {
			return
		}
	}
}

func (f *fields) secret() Secret {
	return Secret{
		Kind: SecretKind(f.u8()), Mode: f.u16(), Owner: f.word16(),
		Name: f.word(f.text8(), reasonText), Value: f.text32(),
	}
}

// ConfigureSize returns the size of a configure's payload, in bytes.
func ConfigureSize(text []byte, secrets Secrets) int { return 4 + len(text) + 2 + len(secrets.raw) }

// AppendConfigure appends a configure. text has options, one a line.
func AppendConfigure(dst []byte, seq uint32, text []byte, secrets Secrets) []byte {
	dst = appendText32(AppendHeader(dst, TypeConfigure, seq, ConfigureSize(text, secrets)), text)
	return append(appendU16(dst, secrets.n), secrets.raw...)
}

// ParseConfigure parses a whole payload, which text and secrets alias. The agent judges their
// meaning.
func ParseConfigure(payload []byte) (text []byte, secrets Secrets, err error) {
	f := fields{b: payload}
	text = f.text32()
	secrets.n = f.u16()
	was := f.b
	for range f.count(uint32(secrets.n), 1+2+2+1+4) {
		f.secret()
	}
	secrets.raw = f.since(was)
	if err := f.end(TypeConfigure); err != nil {
		return nil, Secrets{}, err
	}
	return text, secrets, nil
}
