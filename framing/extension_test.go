package framing

// These messages of the extension have no type of their own in the package; the tests need one for
// each.
type (
	helloMessage  struct{ Version uint16 }
	outputMessage struct {
		Stream Stream
		Data   []byte
	}
	closeMessage  struct{ Stream Stream }
	creditMessage struct {
		Stream Stream
		Bytes  uint32
	}
	resizeMessage      struct{ Rows, Columns uint16 }
	processListMessage struct {
		Count     uint32
		Processes []Process
	}
	statMessage struct {
		Flags FileFlags
		Path  []byte
	}
	figuresMessage struct {
		Count   uint32
		Figures Figures
	}
	restoreMessage struct {
		UnixNS  uint64
		Entropy []byte
	}
	networkMessage struct {
		Count uint16
		Words NetworkWords
	}
	factsMessage struct {
		Count uint16
		Facts Facts
	}
	configureMessage struct {
		Text    []byte
		Count   uint16
		Secrets Secrets
	}
	unmountMessage struct {
		Flags  UnmountFlags
		Target []byte
	}
	diskMessage struct {
		Op   DiskOp
		Path []byte
	}
	skipMessage   struct{ Bytes uint64 }
	freezeMessage struct {
		ThawAfterMS uint32
		Flags       FreezeFlags
	}
	identityMessage struct {
		UnixNS  uint64
		Entropy []byte
		Count   uint16
		Words   NetworkWords
	}
	identityResultMessage struct {
		Epoch uint64
		Count uint16
		Parts IdentityResult
	}
	powerMessage struct {
		How     PowerHow
		GraceMS uint32
	}
	listeningMessage struct{ Address []byte }
	incomingMessage  struct {
		ID     uint64
		Remote []byte
	}
	acceptMessage struct {
		ID     uint64
		Credit uint32
	}
	portsMessage    struct{ Watch bool }
	servicesMessage struct{ Watch bool }
	portListMessage struct {
		Count uint16
		Ports []Port
	}
)

// extensionTypes has every type of the extension and the Go type of its payload, or nil if it is
// any bytes.
var extensionTypes = map[Type]any{
	TypeHello:       helloMessage{},
	TypeHelloResult: HelloResult{},
	TypeStart:       Start{},
	TypeStarted:     Started{},
	TypeAttach:      Attach{},
	TypeInput:       nil,
	TypeOutput:      outputMessage{},
	TypeClose:       closeMessage{},
	TypeCredit:      creditMessage{},
	TypeResize:      resizeMessage{},
	TypeSignal:      Signal{},
	TypeExited:      Exited{},
	TypeRelease:     nil,
	TypeProcesses:   nil,
	TypeProcessList: processListMessage{},
	TypeDone:        Done{},
	TypeRead:        Read{},
	TypeWrite:       Write{},
	TypeStat:        statMessage{},
	TypeStatResult:  FileInfo{},
	TypeList:        List{},
	TypeChange:      Change{},
	TypeSkip:        skipMessage{},
	TypeStats:       nil,
	TypeFigures:     figuresMessage{},
	TypePressure:    Pressure{},
	TypeRestore:     restoreMessage{},
	TypeFreeze:      freezeMessage{},
	TypeThaw:        nil,
	TypePower:       powerMessage{},
	TypeNetwork:     networkMessage{},
	TypeNetworkShow: nil,
	TypeFacts:       factsMessage{},
	TypeMount:       VolumeMount{},
	TypeUnmount:     unmountMessage{},
	TypeDisk:        diskMessage{},
	TypeServices:    servicesMessage{},
	TypeService:     Service{},
	TypeConfigure:   configureMessage{},
	TypeConnect:     Connect{},
	TypeConnected:   Connected{},
	TypeListen:      Listen{},
	TypeListening:   listeningMessage{},
	TypeIncoming:    incomingMessage{},
	TypeAccept:      acceptMessage{},
	TypePorts:       portsMessage{},
	TypeLook:        Look{},
	TypePortList:    portListMessage{},
	TypeKernelLog:   KernelLog{},
	TypeAccount:     nil,
	TypeWatch:       Watch{},

	TypeIdentity:       identityMessage{},
	TypeIdentityResult: identityResultMessage{},
}

// parseExtension parses a payload into its type in extensionTypes.
func parseExtension(t Type, payload []byte) (message any, err error) {
	switch t {
	case TypeHello:
		var m helloMessage
		m.Version, err = ParseHello(payload)
		return m, err
	case TypeHelloResult:
		var m HelloResult
		err = ParseHelloResult(payload, &m)
		return m, err
	case TypeStart:
		var m Start
		err = ParseStart(payload, &m)
		return m, err
	case TypeStarted:
		return ParseStarted(payload)
	case TypeAttach:
		return ParseAttach(payload)
	case TypeOutput:
		var m outputMessage
		m.Stream, m.Data, err = ParseOutput(payload)
		return m, err
	case TypeClose:
		var m closeMessage
		m.Stream, err = ParseClose(payload)
		return m, err
	case TypeCredit:
		var m creditMessage
		m.Stream, m.Bytes, err = ParseCredit(payload)
		return m, err
	case TypeResize:
		var m resizeMessage
		m.Rows, m.Columns, err = ParseResize(payload)
		return m, err
	case TypeSignal:
		return ParseSignal(payload)
	case TypeExited:
		var m Exited
		err = ParseExited(payload, &m)
		return m, err
	case TypeProcessList:
		var m processListMessage
		m.Processes, err = ParseProcessList(payload)
		m.Count = uint32(len(m.Processes))
		return m, err
	case TypeDone:
		return ParseDone(payload)
	case TypeRead:
		return ParseRead(payload)
	case TypeWrite:
		return ParseWrite(payload)
	case TypeStat:
		var m statMessage
		m.Flags, m.Path, err = ParseStat(payload)
		return m, err
	case TypeStatResult:
		return ParseStatResult(payload)
	case TypeList:
		return ParseList(payload)
	case TypeChange:
		return ParseChange(payload)
	case TypeSkip:
		var m skipMessage
		m.Bytes, err = ParseSkip(payload)
		return m, err
	case TypeFigures:
		var m figuresMessage
		m.Figures, err = ParseFigures(payload)
		m.Count = uint32(m.Figures.Len())
		return m, err
	case TypePressure:
		return ParsePressure(payload)
	case TypeRestore:
		var m restoreMessage
		m.UnixNS, m.Entropy, err = ParseRestore(payload)
		return m, err
	case TypeFreeze:
		var m freezeMessage
		m.ThawAfterMS, m.Flags, err = ParseFreeze(payload)
		return m, err
	case TypePower:
		var m powerMessage
		m.How, m.GraceMS, err = ParsePower(payload)
		return m, err
	case TypeMount:
		return ParseMount(payload)
	case TypeUnmount:
		var m unmountMessage
		m.Flags, m.Target, err = ParseUnmount(payload)
		return m, err
	case TypeDisk:
		var m diskMessage
		m.Op, m.Path, err = ParseDisk(payload)
		return m, err
	case TypeNetwork:
		var m networkMessage
		m.Words, err = ParseNetwork(payload)
		m.Count = uint16(m.Words.Len())
		return m, err
	case TypeFacts:
		var m factsMessage
		m.Facts, err = ParseFacts(payload)
		m.Count = uint16(m.Facts.Len())
		return m, err
	case TypeServices:
		var m servicesMessage
		m.Watch, err = ParseServices(payload)
		return m, err
	case TypeService:
		return ParseService(payload)
	case TypeConfigure:
		var m configureMessage
		m.Text, m.Secrets, err = ParseConfigure(payload)
		m.Count = uint16(m.Secrets.Len())
		return m, err
	case TypeConnect:
		return ParseConnect(payload)
	case TypeConnected:
		return ParseConnected(payload)
	case TypeListen:
		return ParseListen(payload)
	case TypeListening:
		var m listeningMessage
		m.Address, err = ParseListening(payload)
		return m, err
	case TypeIncoming:
		var m incomingMessage
		m.ID, m.Remote, err = ParseIncoming(payload)
		return m, err
	case TypeAccept:
		var m acceptMessage
		m.ID, m.Credit, err = ParseAccept(payload)
		return m, err
	case TypePorts:
		var m portsMessage
		m.Watch, err = ParsePorts(payload)
		return m, err
	case TypeLook:
		return ParseLook(payload)
	case TypePortList:
		var m portListMessage
		m.Ports, err = ParsePortList(payload)
		m.Count = uint16(len(m.Ports))
		return m, err
	case TypeKernelLog:
		return ParseKernelLog(payload)
	case TypeWatch:
		return ParseWatch(payload)
	case TypeIdentity:
		m, err := ParseIdentity(payload)
		return identityMessage{m.UnixNS, m.Entropy, uint16(m.Words.Len()), m.Words}, err
	case TypeIdentityResult:
		m, err := ParseIdentityResult(payload)
		return identityResultMessage{m.Epoch, uint16(m.Len()), m}, err
	}
	panic(t)
}

// appendExtension appends the frame of a message that parseExtension returned.
func appendExtension(dst []byte, seq uint32, message any) []byte {
	switch m := message.(type) {
	case helloMessage:
		return AppendHello(dst, seq, m.Version)
	case HelloResult:
		return AppendHelloResult(dst, seq, &m)
	case Start:
		return AppendStart(dst, seq, &m)
	case Started:
		return AppendStarted(dst, seq, m)
	case Attach:
		return AppendAttach(dst, seq, &m)
	case outputMessage:
		return append(AppendOutputHead(dst, seq, m.Stream, len(m.Data)), m.Data...)
	case closeMessage:
		return AppendClose(dst, seq, m.Stream)
	case creditMessage:
		return AppendCredit(dst, seq, m.Stream, m.Bytes)
	case resizeMessage:
		return AppendResize(dst, seq, m.Rows, m.Columns)
	case Signal:
		return AppendSignal(dst, seq, m)
	case Exited:
		return AppendExited(dst, seq, &m)
	case processListMessage:
		return AppendProcessList(dst, seq, m.Processes)
	case Done:
		return AppendDone(dst, seq, m.Errno, m.Value, string(m.Reason))
	case Read:
		return AppendRead(dst, seq, &m)
	case Write:
		return AppendWrite(dst, seq, &m)
	case statMessage:
		return AppendStat(dst, seq, m.Flags, m.Path)
	case FileInfo:
		return AppendStatResult(dst, seq, &m)
	case List:
		return AppendList(dst, seq, &m)
	case Change:
		return AppendChange(dst, seq, &m)
	case skipMessage:
		return AppendSkip(dst, seq, m.Bytes)
	case figuresMessage:
		return AppendFigures(dst, seq, m.Figures)
	case Pressure:
		return AppendPressure(dst, seq, m)
	case restoreMessage:
		return AppendRestore(dst, seq, m.UnixNS, m.Entropy)
	case freezeMessage:
		return AppendFreeze(dst, seq, m.ThawAfterMS, m.Flags)
	case powerMessage:
		return AppendPower(dst, seq, m.How, m.GraceMS)
	case VolumeMount:
		return AppendMount(dst, seq, &m)
	case unmountMessage:
		return AppendUnmount(dst, seq, m.Flags, m.Target)
	case diskMessage:
		return AppendDisk(dst, seq, m.Op, m.Path)
	case networkMessage:
		return AppendNetwork(dst, seq, m.Words)
	case factsMessage:
		return AppendFacts(dst, seq, m.Facts)
	case servicesMessage:
		return AppendServices(dst, seq, m.Watch)
	case Service:
		return AppendService(dst, seq, &m)
	case configureMessage:
		return AppendConfigure(dst, seq, m.Text, m.Secrets)
	case Connect:
		return AppendConnect(dst, seq, &m)
	case Connected:
		return AppendConnected(dst, seq, &m)
	case Listen:
		return AppendListen(dst, seq, &m)
	case listeningMessage:
		return AppendListening(dst, seq, m.Address)
	case incomingMessage:
		return AppendIncoming(dst, seq, m.ID, m.Remote)
	case acceptMessage:
		return AppendAccept(dst, seq, m.ID, m.Credit)
	case Look:
		return AppendLook(dst, seq, &m)
	case portsMessage:
		return AppendPorts(dst, seq, m.Watch)
	case portListMessage:
		return AppendPortList(dst, seq, m.Ports)
	case KernelLog:
		return AppendKernelLog(dst, seq, m)
	case Watch:
		return AppendWatch(dst, seq, &m)
	case identityMessage:
		return AppendIdentity(dst, seq, &Identity{m.UnixNS, m.Entropy, m.Words})
	case identityResultMessage:
		m.Parts.Epoch = m.Epoch
		return AppendIdentityResult(dst, seq, m.Parts)
	}
	panic(message)
}
