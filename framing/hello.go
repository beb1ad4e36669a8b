package framing

// Version is the version of the extension that this package speaks.
const Version = 1

// Features are the parts of the extension that a guest has, as bits.
type Features uint32

// The features of version 1.
const (
	FeatureProcesses Features = 1 << iota // start, attach, and what belongs to them
	FeatureTerminals                      // start with a terminal
	FeatureFiles                          // read, write, stat, list, change
	FeatureStats                          // stats
	FeaturePressure                       // pressure
	FeatureRestore                        // restore
	FeatureFreeze                         // freeze, thaw
	FeaturePower                          // power
	FeatureCopies                         // maps and holes of files, nodes, extended attributes
	// the modes of a terminal, and how long to wait for output
	FeatureManners
	FeatureForward   // connect, listen, accept
	FeaturePorts     // ports
	FeatureNetwork   // network, network_show
	FeatureConfigure // configure
	FeatureDisks     // mount, unmount, disk
	FeatureEvidence  // kernel_log, account
	FeatureWatch     // watch
	FeatureIdentity  // identity, and a freeze of the commands
	FeatureServices  // services, service
	FeatureConfine   // start with a confinement
	FeatureLook      // look, and start with loose
)

// AppendHello appends a hello with the highest version that the host speaks.
func AppendHello(dst []byte, seq uint32, version uint16) []byte {
	return appendU16(AppendHeader(dst, TypeHello, seq, 2), version)
}

// ParseHello parses the whole payload of a hello. It accepts the version 0, which no host may send.
func ParseHello(payload []byte) (version uint16, err error) {
	f := fields{b: payload}
	version = f.u16()
	return version, f.end(TypeHello)
}

// HelloResult is the payload of hello_result.
type HelloResult struct {
	// Version is the version that both sides then speak.
	Version uint16
	// Features may have bits that this package does not name.
	Features Features
	// Epoch is how many restores of the machine the guest knows of.
	Epoch uint64
	// Facts describe the machine and its boot, for people and logs; extension.md has the names.
	Facts Facts
}

// Facts has names and texts, encoded. The zero Facts is empty. A copy shares the facts present when
// it was made.
type Facts struct {
	n   uint16
	raw []byte
}

// Add appends a fact. A name is cut to 255 bytes and a value to MaxText; of more than 65535 facts
// the later ones are left out.
//
//go:noinline
func (f *Facts) Add(name, value string) {
	if f.n == maxCount {
		return
	}
	f.raw = appendText16(appendText8(f.raw, name), value)
	f.n++
}

// All yields the facts in order. The slices alias the payload or what Add copied.
func (f Facts) All(yield func(name, value []byte) bool) {
	for r := (fields{b: f.raw}); len(r.b) > 0; {
		if !yield(r.text8(), r.text16()) {
			return
		}
	}
}

func (f *Facts) append(dst []byte) []byte { return append(appendU16(dst, f.n), f.raw...) }

func (f *fields) facts() (facts Facts) {
	facts.n = f.u16()
	start := f.b
	for range f.count(uint32(facts.n), 1+2) {
		f.text8()
		f.text16()
	}
	facts.raw = f.since(start)
	return facts
}

// Len returns the number of facts.
func (f Facts) Len() int { return int(f.n) }

// AppendHelloResult appends a hello_result.
func AppendHelloResult(dst []byte, seq uint32, h *HelloResult) []byte {
	start := len(dst)
	dst = begin(dst, TypeHelloResult, seq)
	dst = appendU16(dst, h.Version)
	dst = appendU32(dst, uint32(h.Features))
	dst = appendU64(dst, h.Epoch)
	return finish(h.Facts.append(dst), start)
}

// ParseHelloResult parses a whole payload, which h aliases. After an error (*PayloadError) h is
// unchanged.
func ParseHelloResult(payload []byte, h *HelloResult) error {
	f := fields{b: payload}
	r := HelloResult{Version: f.u16(), Features: Features(f.u32()), Epoch: f.u64()}
	r.Facts = f.facts()
	if err := f.end(TypeHelloResult); err != nil {
		return err
	}
	*h = r
	return nil
}

// Done is the payload of done: the result of an operation.
type Done struct {
	// Errno is Linux's error number, 0 for success.
	Errno uint32
	// Value is the result of the operation; extension.md has its meaning for each.
	Value uint64
	// Reason says why it failed.
	Reason []byte
}

// AppendDone appends a done. It cuts a reason longer than MaxText bytes.
func AppendDone(dst []byte, seq uint32, errno uint32, value uint64, reason string) []byte {
	start := len(dst)
	dst = appendU64(appendU32(begin(dst, TypeDone, seq), errno), value)
	return finish(appendText16(dst, reason), start)
}

// ParseDone parses a whole payload, which the reason aliases.
func ParseDone(payload []byte) (Done, error) {
	f := fields{b: payload}
	d := Done{Errno: f.u32(), Value: f.u64(), Reason: f.text16()}
	return d, f.end(TypeDone)
}
