package framing

// servicesWatch is flag bit 0 of services.
const servicesWatch = 1

// AppendServices appends a services.
func AppendServices(dst []byte, seq uint32, watch bool) []byte {
	var flags byte
	if watch {
		flags = servicesWatch
	}
	return append(AppendHeader(dst, TypeServices, seq, 1), flags)
}

// ParseServices parses a whole payload.
func ParseServices(payload []byte) (watch bool, err error) {
	f := fields{b: payload}
	flags := f.u8()
	f.known(uint16(flags), servicesWatch)
	return flags&servicesWatch != 0, f.end(TypeServices)
}

// ServiceOp is what a service message asks for.
type ServiceOp uint8

// The operations. Any other is understood and refused by the agent.
const (
	ServiceStart ServiceOp = iota
	ServiceStop
	ServiceRestart
	ServiceSignal
)

// Service is the payload of service.
type Service struct {
	Op ServiceOp
	// Signal is the signal of ServiceSignal, and otherwise unused.
	Signal uint8
	// Name is the name of the service. It has no NUL.
	Name []byte
}

// AppendService appends a service.
func AppendService(dst []byte, seq uint32, s *Service) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeService, seq), byte(s.Op), s.Signal)
	return finish(appendText16(dst, s.Name), start)
}

// ParseService parses a whole payload, which the name aliases.
func ParseService(payload []byte) (Service, error) {
	f := fields{b: payload}
	s := Service{ServiceOp(f.u8()), f.u8(), f.word16()}
	return s, f.end(TypeService)
}

// WorkloadName is the name of the service whose options begin with "workload".
const WorkloadName = "workload"

// serviceIDs are the upper 32 bits of the ids of services but the workload: the letters "srvc".
const serviceIDs = 0x73727663

// ServiceID returns the id of the process of a service: WorkloadID, or the letters "srvc" and the
// 32-bit FNV-1a hash of the name.
func ServiceID(name string) uint64 {
	if name == WorkloadName {
		return WorkloadID
	}
	const offset, prime = 2166136261, 16777619
	hash := uint32(offset)
	for i := range len(name) {
		hash = (hash ^ uint32(name[i])) * prime
	}
	return serviceIDs<<32 | uint64(hash)
}

// ReservedID reports whether an id is that of a service, which no start may have.
func ReservedID(id uint64) bool { return id == WorkloadID || id>>32 == serviceIDs }
