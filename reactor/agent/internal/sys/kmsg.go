package sys

import "golang.org/x/sys/unix"

// KernelRecord is a record of the kernel's log, as /dev/kmsg has it. The texts alias the buffer
// that it was read into.
type KernelRecord struct {
	Priority   uint16 // the facility times 8, plus the level
	Sequence   uint64
	TimeUS     uint64
	Text       []byte
	Dictionary []byte // lines, each after a blank
}

// Level returns the level of a record: 0 (emergency) to 7 (debug).
func (r *KernelRecord) Level() uint16 { return r.Priority & 7 }

// MaxKernelRecord is the longest record that the kernel makes, in bytes.
const MaxKernelRecord = 8 << 10

// KernelLogPath is the device of the kernel's log.
const KernelLogPath = "/dev/kmsg"

// OpenKernelLog opens the kernel's log. The first record is the oldest one, or with fromNow the
// next one.
func OpenKernelLog(fromNow bool) (fd int, err error) {
	fd, err = unix.Open(KernelLogPath, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, NewError("open", KernelLogPath, err)
	}
	whence := unix.SEEK_SET
	if fromNow {
		whence = unix.SEEK_END
	}
	if _, err := unix.Seek(fd, 0, whence); err != nil {
		unix.Close(fd)
		return -1, NewError("lseek", KernelLogPath, err)
	}
	return fd, nil
}

// ReadKernelRecord reads the next record into buf, which has at least MaxKernelRecord bytes. It
// skips records that it cannot parse, at most a few. The error is EAGAIN at the end of the log.
func ReadKernelRecord(fd int, buf []byte) (r KernelRecord, err error) {
	for range 8 {
		// EPIPE: the next record has been overwritten, and the one after it is the oldest
		// now.
		n, err := Read(fd, buf)
		if err != nil && err != unix.EPIPE {
			return r, err
		}
		if err == nil && r.Parse(buf[:n]) {
			return r, nil
		}
	}
	return r, unix.EAGAIN
}

// Parse parses a record as one read(2) returns it, and reports whether it is one;
// Documentation/ABI/testing/dev-kmsg of the kernel:
//
//	6,339,5140900,-,caller=T1;NET: Registered protocol family 10
//	 SUBSYSTEM=net
func (r *KernelRecord) Parse(b []byte) bool {
	head := 0
	for head < len(b) && b[head] != ';' {
		head++
	}
	if head == len(b) {
		return false
	}
	text := Alias(b[:head])
	var fields [3]uint64
	for i := range fields {
		n, rest, ok := TakeNumber(text)
		if !ok || rest == "" || rest[0] != ',' {
			return false
		}
		fields[i], text = n, rest[1:]
	}
	if fields[0] >= 1<<16 {
		return false
	}
	b = b[head+1:]
	end := 0
	for end < len(b) && b[end] != '\n' {
		end++
	}
	r.Priority, r.Sequence, r.TimeUS = uint16(fields[0]), fields[1], fields[2]
	r.Text, r.Dictionary = b[:end:end], nil
	if end < len(b) {
		r.Dictionary = b[end+1:]
	}
	return true
}
