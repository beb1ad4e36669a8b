package modeltest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// The types of the extension's frames; tHello is the first.
const (
	tHelloResult byte = 0x21 + iota
	tStart
	tStarted
	tAttach
	tInput
	tOutput
	tClose
	tCredit
	tResize
	tSignal
	tExited
	tRelease
	tProcesses
	tProcessList
	tDone
	tRead
	tWrite
	tStat
	tStatResult
	tList
	tChange
)

const (
	tStats byte = 0x38 + iota
	tFigures
	tPressure
	tRestore
	tFreeze
	tThaw
	tPower
)

const (
	maxOutput   = 32 << 10  // content of an output of a read or a list
	maxStreamed = 256 << 10 // content of an output of a process
	inputWindow = 60 << 10  // of a process's stdin
	writeWindow = 64 << 10  // of a write
	keepForever = 1<<32 - 1
)

func u64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// The flags of a start.
const (
	fShell byte = 1 << iota
	fStdin
	fTerminal
	fMerge
	fOnly
)

// startPayload is that of a start with those grants.
func (p *proc) startPayload(credit [2]int) []byte {
	b := append(u64(nil, p.id), p.flags)
	b = u32(u32(u32(u32(b, p.timeout), p.keep), credit[0]), credit[1])
	b = u16(u16(u64(b, uint64(p.cap)), p.rows), p.columns)
	b = short(short(b, p.user), p.dir)
	b = u32(b, len(p.args))
	for _, word := range p.args {
		b = long(b, word)
	}
	b = u32(b, len(p.env)/2)
	for _, s := range p.env {
		b = long(b, s)
	}
	b = append(b, byte(len(p.limits)))
	for _, l := range p.limits {
		b = u64(u64(append(b, byte(l[0])), l[1]), l[2])
	}
	return b
}

func attachPayload(id uint64, at, credit [2]int) []byte {
	b := u64(u64(u64(nil, id), uint64(at[0])), uint64(at[1]))
	return u32(u32(b, credit[0]), credit[1])
}

func signalPayload(id uint64, pid int, signal, scope byte) []byte {
	return append(u32(u64(nil, id), pid), signal, scope)
}

func creditFrame(seq uint32, stream byte, n int) []byte {
	return frameOf(tCredit, seq, u32([]byte{stream}, n))
}

func closeFrame(seq uint32, stream byte) []byte { return frameOf(tClose, seq, []byte{stream}) }

func readPayload(flags byte, offset, length, credit int, path string) []byte {
	return short(u32(u64(u64([]byte{flags}, uint64(offset)), uint64(length)), credit), path)
}

// The flags of a write that are used here.
const (
	wInPlace   = 1 << 1
	wExclusive = 1 << 2
	wMode      = 1 << 4
	wParents   = 1 << 6
	wAppend    = 1 << 7
	wTruncate  = 1 << 8
)

func writePayload(flags, mode, offset int, path string) []byte {
	b := u32(u32(u32(u16(nil, flags), mode), 0), 0)
	return short(u64(b, uint64(offset)), path)
}

func listPayload(flags byte, credit int, path string) []byte {
	return short(u32([]byte{flags}, credit), path)
}

func statPayload(flags byte, path string) []byte { return short([]byte{flags}, path) }

// The ops of a change.
const (
	opMkdir byte = 1 + iota
	opRemove
	opRename
	opSymlink
	opLink
	opChmod
	opChown
	opUtime
)

func changePayload(op, flags byte, mode int, path, other string) []byte {
	b := u32(u32(u32([]byte{op, flags}, mode), keepForever), keepForever)
	return short(short(u64(b, 0), path), other)
}

// done is the payload of a done.
type done struct {
	errno unix.Errno
	value int
}

func parseDone(typ byte, payload []byte) (d done, err error) {
	in := reading{rest: payload}
	d.errno, d.value = unix.Errno(in.number(4)), in.number(8)
	reason := in.take(in.number(2))
	if err = in.end(); typ != tDone || err != nil {
		return d, fmt.Errorf("type 0x%02X %s, want a done", typ, brief(payload))
	}
	if (d.errno == 0) != (len(reason) == 0) {
		return d, fmt.Errorf("done with errno %d (%v) and reason %q", d.errno, d.errno, reason)
	}
	return d, nil
}

// wantDone judges a done with one of those errnos.
func wantDone(errnos ...unix.Errno) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		d, err := parseDone(typ, payload)
		if err != nil {
			return err
		}
		for _, e := range errnos {
			if d.errno == e {
				return nil
			}
		}
		return fmt.Errorf("done with errno %d (%v), want %v", d.errno, d.errno, errnos)
	}
}

// info is a stat_result, or an entry of a list.
type info struct {
	mode, size, links int
	name, target      string
}

func (r *reading) info() (i info) {
	i.mode = r.number(4)
	r.take(4 + 4)
	i.links = r.number(4)
	i.size = r.number(8)
	r.take(8 + 8 + 8)
	i.name = string(r.take(r.number(2)))
	i.target = string(r.take(r.number(2)))
	return i
}

// receipt is the payload of an exited.
type receipt struct {
	reason, signal, stage byte
	code                  int32
	errno                 unix.Errno
	elapsed               int // µs
	total, dropped        [2]int
	left                  int
	message               string
}

func parseReceipt(payload []byte) (r receipt, err error) {
	in := reading{rest: payload}
	r.reason, r.signal, r.stage = byte(in.number(1)), byte(in.number(1)), byte(in.number(1))
	flags := in.number(1)
	r.code, r.errno = int32(in.number(4)), unix.Errno(in.number(4))
	in.take(8 + 8)
	r.elapsed = in.number(8)
	in.take(8)
	r.total = [2]int{in.number(8), in.number(8)}
	r.dropped = [2]int{in.number(8), in.number(8)}
	r.left = in.number(4)
	in.take(4)
	r.message = string(in.take(in.number(2)))
	if err = in.end(); err == nil && flags&^3 != 0 {
		err = fmt.Errorf("flags 0x%02X of an exited", flags)
	}
	return r, err
}

func (r receipt) String() string {
	return fmt.Sprintf("reason %d, signal %d, stage %d, code %d, errno %d, bytes %v, dropped %v, left %d, message %q",
		r.reason, r.signal, r.stage, r.code, r.errno, r.total, r.dropped, r.left, r.message)
}
