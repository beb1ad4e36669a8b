package framing

// Type is the type byte of a frame. A peer may send any value; String and FromHost accept all.
type Type uint8

// The message types. Comments give the direction: G is the guest, H the host.
const (
	TypeReady           Type = 0x00 // G→H
	TypePing            Type = 0x01 // H→G
	TypePong            Type = 0x02 // G→H
	TypeExec            Type = 0x03 // H→G
	TypeExecResult      Type = 0x04 // G→H
	TypeWriteFile       Type = 0x05 // H→G
	TypeWriteFileResult Type = 0x06 // G→H
	TypeSpawnWatch      Type = 0x07 // H→G
	TypeSpawnResult     Type = 0x08 // G→H
	TypeProcessExit     Type = 0x09 // G→H
	TypeShutdown        Type = 0x0A // H→G
	TypeShutdownAck     Type = 0x0B // G→H
	TypeStdoutChunk     Type = 0x0C // G→H
	TypeError           Type = 0xFF // G→H
)

// The types of the extension; see extension.md. A guest knows them on a connection on which it has
// answered a hello.
const (
	TypeHello          Type = 0x20 // H→G
	TypeHelloResult    Type = 0x21 // G→H
	TypeStart          Type = 0x22 // H→G
	TypeStarted        Type = 0x23 // G→H
	TypeAttach         Type = 0x24 // H→G
	TypeInput          Type = 0x25 // H→G
	TypeOutput         Type = 0x26 // G→H
	TypeClose          Type = 0x27 // both
	TypeCredit         Type = 0x28 // both
	TypeResize         Type = 0x29 // H→G
	TypeSignal         Type = 0x2A // H→G
	TypeExited         Type = 0x2B // G→H
	TypeRelease        Type = 0x2C // H→G
	TypeProcesses      Type = 0x2D // H→G
	TypeProcessList    Type = 0x2E // G→H
	TypeDone           Type = 0x2F // G→H
	TypeRead           Type = 0x30 // H→G
	TypeWrite          Type = 0x31 // H→G
	TypeStat           Type = 0x32 // H→G
	TypeStatResult     Type = 0x33 // G→H
	TypeList           Type = 0x34 // H→G
	TypeChange         Type = 0x35 // H→G
	TypeSkip           Type = 0x36 // H→G
	TypeStats          Type = 0x38 // H→G
	TypeFigures        Type = 0x39 // G→H
	TypePressure       Type = 0x3A // H→G
	TypeRestore        Type = 0x3B // H→G
	TypeFreeze         Type = 0x3C // H→G
	TypeThaw           Type = 0x3D // H→G
	TypePower          Type = 0x3E // H→G
	TypeConnect        Type = 0x40 // H→G
	TypeConnected      Type = 0x41 // G→H
	TypeListen         Type = 0x42 // H→G
	TypeListening      Type = 0x43 // G→H
	TypeIncoming       Type = 0x44 // G→H
	TypeAccept         Type = 0x45 // H→G
	TypePorts          Type = 0x46 // H→G
	TypePortList       Type = 0x47 // G→H
	TypeNetwork        Type = 0x48 // H→G
	TypeNetworkShow    Type = 0x49 // H→G
	TypeFacts          Type = 0x4A // G→H
	TypeConfigure      Type = 0x4B // H→G
	TypeMount          Type = 0x4C // H→G
	TypeUnmount        Type = 0x4D // H→G
	TypeDisk           Type = 0x4E // H→G
	TypeKernelLog      Type = 0x50 // H→G
	TypeAccount        Type = 0x51 // H→G
	TypeWatch          Type = 0x52 // H→G
	TypeIdentity       Type = 0x53 // H→G
	TypeServices       Type = 0x54 // H→G
	TypeService        Type = 0x55 // H→G
	TypeLook           Type = 0x56 // H→G
	TypeIdentityResult Type = 0x57 // G→H
)

// Sizes of a frame, in bytes.
const (
	// HeaderSize is the size of what precedes the payload: length, type and seq.
	HeaderSize = 4 + 1 + 4
	// MinLength is the least value of the length field: type and seq without a payload.
	MinLength = 1 + 4
	// MaxLength is the greatest value of the length field.
	MaxLength = 16 << 20
	// MaxPayload is the size of the longest payload.
	MaxPayload = MaxLength - MinLength
)

// MaxText is how many bytes a text with a 16-bit count can have: a path, the message of an error,
// the reason of a write_file_result.
const MaxText = 1<<16 - 1

// Header is the header of a frame.
type Header struct {
	Type Type
	// Seq is chosen by the requester and repeated in the reply. Unsolicited frames have 0.
	Seq uint32
	// Size is the number of payload bytes, 0 to MaxPayload.
	Size int
}

// typeNames has the names of the messages.
var typeNames = [0x60]string{
	TypeReady: "ready", TypePing: "ping", TypePong: "pong", TypeExec: "exec", TypeExecResult: "exec_result",
	TypeWriteFile: "write_file", TypeWriteFileResult: "write_file_result", TypeSpawnWatch: "spawn_watch",
	TypeSpawnResult: "spawn_watch_result", TypeProcessExit: "process_exit", TypeShutdown: "shutdown",
	TypeShutdownAck: "shutdown_ack", TypeStdoutChunk: "stdout_chunk",

	TypeHello:          "hello",
	TypeHelloResult:    "hello_result",
	TypeStart:          "start",
	TypeStarted:        "started",
	TypeAttach:         "attach",
	TypeInput:          "input",
	TypeOutput:         "output",
	TypeClose:          "close",
	TypeCredit:         "credit",
	TypeResize:         "resize",
	TypeSignal:         "signal",
	TypeExited:         "exited",
	TypeRelease:        "release",
	TypeProcesses:      "processes",
	TypeProcessList:    "process_list",
	TypeDone:           "done",
	TypeRead:           "read",
	TypeWrite:          "write",
	TypeStat:           "stat",
	TypeStatResult:     "stat_result",
	TypeList:           "list",
	TypeChange:         "change",
	TypeSkip:           "skip",
	TypeStats:          "stats",
	TypeFigures:        "figures",
	TypePressure:       "pressure",
	TypeRestore:        "restore",
	TypeFreeze:         "freeze",
	TypeThaw:           "thaw",
	TypePower:          "power",
	TypeConnect:        "connect",
	TypeConnected:      "connected",
	TypeListen:         "listen",
	TypeListening:      "listening",
	TypeIncoming:       "incoming",
	TypeAccept:         "accept",
	TypePorts:          "ports",
	TypePortList:       "port_list",
	TypeNetwork:        "network",
	TypeNetworkShow:    "network_show",
	TypeFacts:          "facts",
	TypeConfigure:      "configure",
	TypeMount:          "mount",
	TypeUnmount:        "unmount",
	TypeDisk:           "disk",
	TypeKernelLog:      "kernel_log",
	TypeAccount:        "account",
	TypeWatch:          "watch",
	TypeIdentity:       "identity",
	TypeServices:       "services",
	TypeService:        "service",
	TypeLook:           "look",
	TypeIdentityResult: "identity_result",
}

// String returns the message's name ("exec_result"), or "0x42" (two digits, upper case) for an
// unknown type. Only the latter allocates.
func (t Type) String() string {
	if t == TypeError {
		return "error"
	}
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	const digits = "0123456789ABCDEF"
	return string([]byte{'0', 'x', digits[t>>4], digits[t&15]})
}

// FromHost reports whether a host may send frames of this type. It is false for TypeError: a guest
// that receives one logs it and does not answer.
func (t Type) FromHost() bool {
	switch t {
	case TypePing, TypeExec, TypeWriteFile, TypeSpawnWatch, TypeShutdown,
		TypeHello, TypeStart, TypeAttach, TypeInput, TypeClose, TypeCredit, TypeResize, TypeSignal, TypeRelease, TypeProcesses,
		TypeRead, TypeWrite, TypeStat, TypeList, TypeChange, TypeSkip,
		TypeStats, TypePressure, TypeRestore, TypeFreeze, TypeThaw, TypePower,
		TypeConnect, TypeListen, TypeAccept, TypePorts, TypeNetwork, TypeNetworkShow, TypeConfigure,
		TypeMount, TypeUnmount, TypeDisk, TypeKernelLog, TypeAccount, TypeWatch, TypeIdentity,
		TypeServices, TypeService, TypeLook:
		return true
	}
	return false
}
