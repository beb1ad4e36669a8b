package framing

// portsWatch is the flag of ports that asks for a list after each change.
const portsWatch = 1

// AppendPorts appends a ports.
func AppendPorts(dst []byte, seq uint32, watch bool) []byte {
	var flags byte
	if watch {
		flags = portsWatch
	}
	return append(AppendHeader(dst, TypePorts, seq, 1), flags)
}

// ParsePorts parses a whole payload.
func ParsePorts(payload []byte) (watch bool, err error) {
	f := fields{b: payload}
	flags := f.u8()
	f.known(uint16(flags), portsWatch)
	return flags&portsWatch != 0, f.end(TypePorts)
}

// Port is a record of port_list: a socket that listens in the guest.
type Port struct {
	Network Network
	Port    uint16
	// PID is a process that has the socket open, or 0 if none was found.
	PID uint32
	// Address is the IP address, without the port: "127.0.0.1", "::".
	Address []byte
	// Program is the name of the process; proc_pid_comm(5).
	Program []byte
}

// portMin is the size of a record without its texts, in bytes.
const portMin = 1 + 2 + 4 + 2 + 1

// AppendPortList appends a port_list. A list has at most 65535 records. It cuts a program that is
// longer than 255 bytes.
func AppendPortList(dst []byte, seq uint32, list []Port) []byte {
	start := len(dst)
	dst = appendU16(begin(dst, TypePortList, seq), uint16(len(list)))
	for i := range list {
		p := &list[i]
		dst = appendU32(appendU16(append(dst, byte(p.Network)), p.Port), p.PID)
		dst = appendAddress(dst, p.Address)
		program := p.Program[:min(len(p.Program), 255)]
		dst = append(append(dst, byte(len(program))), program...)
	}
	return finish(dst, start)
}

// ParsePortList parses a whole payload, which the texts alias. It allocates the list, which takes
// at most about seven times the memory of the payload.
func ParsePortList(payload []byte) ([]Port, error) {
	f := fields{b: payload}
	list := make([]Port, f.count(uint32(f.u16()), portMin))
	for i := range list {
		list[i] = Port{Network(f.u8()), f.u16(), f.u32(), f.text16(), f.text8()}
	}
	if err := f.end(TypePortList); err != nil {
		return nil, err
	}
	return list, nil
}
