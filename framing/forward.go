package framing

// Network says what kind of address a text is.
type Network uint8

// The networks. Any other is understood and refused by the agent.
const (
	NetworkTCP  Network = 1
	NetworkUnix Network = 2
	NetworkUDP  Network = 3 // refused
)

// ForwardStage says at which step a connect, listen or accept failed. It is the value of its done.
type ForwardStage uint64

// The stages.
const (
	StageAddress ForwardStage = 1 + iota
	StageSocket
	StageBind
	StageListen
	StageConnect
)

// appendAddress appends an address with its count.
//
//go:noinline
func appendAddress(dst, address []byte) []byte { return appendText16(dst, address) }

// Connect is the payload of connect.
type Connect struct {
	Network Network
	// TimeoutMS limits the time to connect, in milliseconds. 0 leaves it to the kernel.
	TimeoutMS uint32
	// Credit is granted to the guest for stream 1.
	Credit uint32
	// Address is host:port, or the path or @name of a Unix socket. It has no NUL.
	Address []byte
}

// AppendConnect appends a connect.
func AppendConnect(dst []byte, seq uint32, c *Connect) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeConnect, seq), byte(c.Network))
	return finish(appendAddress(appendU32(appendU32(dst, c.TimeoutMS), c.Credit), c.Address), start)
}

// ParseConnect parses a whole payload, which the address aliases.
func ParseConnect(payload []byte) (Connect, error) {
	f := fields{b: payload}
	c := Connect{Network(f.u8()), f.u32(), f.u32(), f.word16()}
	return c, f.end(TypeConnect)
}

// Connected is the payload of connected.
type Connected struct {
	// Credit is granted to the host for stream 0.
	Credit uint32
	// Local and Remote are the addresses of the socket and its peer. A Unix socket may have none.
	Local, Remote []byte
}

// AppendConnected appends a connected.
func AppendConnected(dst []byte, seq uint32, c *Connected) []byte {
	start := len(dst)
	dst = appendU32(begin(dst, TypeConnected, seq), c.Credit)
	return finish(appendAddress(appendAddress(dst, c.Local), c.Remote), start)
}

// ParseConnected parses a whole payload, which the addresses alias.
func ParseConnected(payload []byte) (Connected, error) {
	f := fields{b: payload}
	c := Connected{f.u32(), f.text16(), f.text16()}
	return c, f.end(TypeConnected)
}

// Listen is the payload of listen.
type Listen struct {
	Network Network
	// Address is as in Connect. Port 0 lets the kernel choose.
	Address []byte
}

// AppendListen appends a listen.
func AppendListen(dst []byte, seq uint32, l *Listen) []byte {
	start := len(dst)
	return finish(appendAddress(append(begin(dst, TypeListen, seq), byte(l.Network)), l.Address), start)
}

// ParseListen parses a whole payload, which the address aliases.
func ParseListen(payload []byte) (Listen, error) {
	f := fields{b: payload}
	l := Listen{Network(f.u8()), f.word16()}
	return l, f.end(TypeListen)
}

// AppendListening appends a listening with the bound address.
func AppendListening(dst []byte, seq uint32, address []byte) []byte {
	start := len(dst)
	return finish(appendAddress(begin(dst, TypeListening, seq), address), start)
}

// ParseListening parses a whole payload, which the address aliases.
func ParseListening(payload []byte) (address []byte, err error) {
	f := fields{b: payload}
	address = f.text16()
	return address, f.end(TypeListening)
}

// AppendIncoming appends an incoming. accept takes the connection by its id.
func AppendIncoming(dst []byte, seq uint32, id uint64, remote []byte) []byte {
	start := len(dst)
	return finish(appendAddress(appendU64(begin(dst, TypeIncoming, seq), id), remote), start)
}

// ParseIncoming parses a whole payload, which the address aliases.
func ParseIncoming(payload []byte) (id uint64, remote []byte, err error) {
	f := fields{b: payload}
	id, remote = f.u64(), f.text16()
	return id, remote, f.end(TypeIncoming)
}

// AppendAccept appends an accept of the connection with that id. It grants credit for stream 1.
func AppendAccept(dst []byte, seq uint32, id uint64, credit uint32) []byte {
	return appendU32(appendU64(AppendHeader(dst, TypeAccept, seq, 8+4), id), credit)
}

// ParseAccept parses a whole payload.
func ParseAccept(payload []byte) (id uint64, credit uint32, err error) {
	f := fields{b: payload}
	id, credit = f.u64(), f.u32()
	return id, credit, f.end(TypeAccept)
}
