package framing

// The flags of a kernel_log.
const (
	kernelNew = 1 << iota
	kernelFollow
	kernelKnown = 1<<iota - 1
)

// KernelLog is the payload of kernel_log.
type KernelLog struct {
	// New leaves out the records that the log has already.
	New bool
	// Follow waits for further records, until the host closes StreamOutput.
	Follow bool
	// Credit is what may be sent, in bytes.
	Credit uint32
}

// AppendKernelLog appends a kernel_log.
func AppendKernelLog(dst []byte, seq uint32, k KernelLog) []byte {
	var flags byte
	if k.New {
		flags |= kernelNew
	}
	if k.Follow {
		flags |= kernelFollow
	}
	return appendU32(append(AppendHeader(dst, TypeKernelLog, seq, 1+4), flags), k.Credit)
}

// ParseKernelLog parses a whole payload.
func ParseKernelLog(payload []byte) (KernelLog, error) {
	f := fields{b: payload}
	flags := f.u8()
	f.known(uint16(flags), kernelKnown)
	k := KernelLog{New: flags&kernelNew != 0, Follow: flags&kernelFollow != 0, Credit: f.u32()}
	return k, f.end(TypeKernelLog)
}

// KernelRecord is a record of the kernel's log, as the outputs of a kernel_log have it.
type KernelRecord struct {
	// Priority is the facility times 8, plus the level: 0 (emergency) to 7 (debug).
	Priority uint16
	// Sequence is the kernel's number of the record.
	Sequence uint64
	// TimeUS is in microseconds since the boot.
	TimeUS uint64
	// Lost is how many records before this one were overwritten before they could be sent.
	Lost uint64
	// Text is one line. Bytes that are not printable are \xHH, and so is a backslash.
	Text []byte
	// Dictionary has lines of KEY=value, each after a blank and with a newline. They are
	// escaped as Text is.
	Dictionary []byte
}

// KernelRecordSize is the size of a record without its texts, in bytes, and MaxKernelRecord is the
// credit that a record takes at most.
const (
	KernelRecordSize = 2 + 8 + 8 + 8 + 2 + 2
	MaxKernelRecord  = 8<<10 + KernelRecordSize
)

// AppendKernelRecord appends a record. The texts may lie in dst's memory, behind the place of the
// record's head.
func AppendKernelRecord(dst []byte, r *KernelRecord) []byte {
	dst = appendU64(appendU64(appendU16(dst, r.Priority), r.Sequence), r.TimeUS)
	return appendText16(appendText16(appendU64(dst, r.Lost), r.Text), r.Dictionary)
}

// CutKernelRecord parses the first record in b, which the texts alias, and returns the rest of b.
func CutKernelRecord(b []byte) (r KernelRecord, rest []byte, err error) {
	f := fields{b: b}
	r = KernelRecord{Priority: f.u16(), Sequence: f.u64(), TimeUS: f.u64(), Lost: f.u64(), Text: f.text16(), Dictionary: f.text16()}
	if f.reason != "" {
		return KernelRecord{}, nil, &PayloadError{TypeKernelLog, f.reason}
	}
	return r, f.b, nil
}
