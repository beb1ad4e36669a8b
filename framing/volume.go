package framing

// VolumeMount is the payload of mount.
type VolumeMount struct {
	// WaitMS is how long the volume's device may take to appear.
	WaitMS uint32
	// Volume is SOURCE:TARGET:TYPE[:OPTIONS], as vm-init's --mount has it.
	Volume []byte
}

// AppendMount appends a mount. It cuts a volume longer than MaxText bytes.
func AppendMount(dst []byte, seq uint32, m *VolumeMount) []byte {
	start := len(dst)
	dst = appendU32(begin(dst, TypeMount, seq), m.WaitMS)
	return finish(appendText16(dst, m.Volume), start)
}

// ParseMount parses a whole payload, which the volume aliases.
func ParseMount(payload []byte) (VolumeMount, error) {
	f := fields{b: payload}
	m := VolumeMount{WaitMS: f.u32(), Volume: f.word16()}
	return m, f.end(TypeMount)
}

// UnmountFlags are the flags of unmount.
type UnmountFlags uint8

// UnmountLazy detaches a busy volume. It is unmounted when its last user is gone.
const UnmountLazy UnmountFlags = 1

// AppendUnmount appends an unmount. It cuts a target longer than MaxText bytes.
func AppendUnmount(dst []byte, seq uint32, flags UnmountFlags, target []byte) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeUnmount, seq), byte(flags))
	return finish(appendText16(dst, target), start)
}

// ParseUnmount parses a whole payload, which the target aliases.
func ParseUnmount(payload []byte) (flags UnmountFlags, target []byte, err error) {
	f := fields{b: payload}
	flags = UnmountFlags(f.u8())
	f.known(uint16(flags), uint16(UnmountLazy))
	target = f.word16()
	return flags, target, f.end(TypeUnmount)
}

// DiskOp says what a disk request does.
type DiskOp uint8

// The operations. Any other is understood and refused by the agent.
const (
	DiskTrim DiskOp = 1 // give unused blocks back to the host
	DiskGrow DiskOp = 2 // resize an ext4 to its device
	DiskShow DiskOp = 3 // answered by facts
)

// AppendDisk appends a disk. It cuts a path longer than MaxText bytes. An empty path means every
// disk.
func AppendDisk(dst []byte, seq uint32, op DiskOp, path []byte) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeDisk, seq), byte(op))
	return finish(appendText16(dst, path), start)
}

// ParseDisk parses a whole payload, which the path aliases.
func ParseDisk(payload []byte) (op DiskOp, path []byte, err error) {
	f := fields{b: payload}
	op = DiskOp(f.u8())
	path = f.word16()
	return op, path, f.end(TypeDisk)
}
