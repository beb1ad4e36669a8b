package reactor

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is a system call of a child.
type step struct {
	number uintptr
	args   [5]uintptr
	pass   uint64  // the errnos after which the child goes on, as bits
	stage  uint64  // the stage that it belongs to, for the report; above it, the number of a change
	save   uintptr // where the result of a success goes, or 0
	skip   uintptr // how many bytes of steps are left out after a success
}

// report says which step ended a child. Child and parent share it.
type report struct {
	errno uint64 // 0 if no step failed
	stage uint64
}

// forkBlock is what fork reads and writes.
//
//lint:ignore U1000 the assembly uses it
type forkBlock struct {
	call      step // clone(2) or clone3(2)
	all, mask uint64
	none      uint64
	join      uintptr // the pidfd of a process whose pid namespace the child starts in, or 0
	self      uintptr // the pidfd of this process, to leave that namespace again
	entered   uintptr // 1 once this thread forks into that namespace
	first     uintptr // *step
	report    uintptr // *report
	pidfd     int32
	lent      uint32 // not 0 until a child that shares the memory has executed its program or ended
	clone     cloneArgs
}

// cloneArgs is struct clone_args of clone(2).
//
//lint:ignore U1000 the kernel reads it
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// image is the memory that a child gets a copy of: the block, the steps, and what they point to.
type image struct {
	b     []byte
	block *forkBlock
	next  *step
	at    int // where the next string goes
	bad   bool
}

// newImage lays out an image with that many steps in b.
func newImage(b []byte, steps int) image {
	m := image{b: b, block: (*forkBlock)(unsafe.Pointer(&b[0]))}
	*m.block = forkBlock{all: ^uint64(0)}
	m.next = (*step)(unsafe.Pointer(&b[unsafe.Sizeof(forkBlock{})]))
	m.block.first = uintptr(unsafe.Pointer(m.next))
	m.at = imageHead(steps)
	return m
}

// lent reports whether a child still uses an image. The kernel says when it no longer does.
func lent(image []byte) bool {
	return atomic.LoadUint32(&(*forkBlock)(unsafe.Pointer(&image[0])).lent) != 0
}

// imageHead returns the size of an image without what its steps point to.
func imageHead(steps int) int {
	return int(unsafe.Sizeof(forkBlock{}) + uintptr(steps)*unsafe.Sizeof(step{}))
}

// then adds a step. The functions that every step calls are not inlined, which saves 20 kB.
//
//go:noinline
func (m *image) then(stage uint64, pass uint64, number uintptr, args ...uintptr) *step {
	s := m.next
	*s = step{number: number, pass: pass, stage: stage}
	copy(s.args[:], args)
	m.next = (*step)(unsafe.Add(unsafe.Pointer(s), unsafe.Sizeof(*s)))
	return s
}

// saveTo has the result of s become the first argument of a later step.
//
//go:noinline
func (s *step) saveTo(later *step) { s.save = uintptr(unsafe.Pointer(&later.args[0])) }

// skipNext leaves the next step out if s succeeds.
func (s *step) skipNext() { s.skip = unsafe.Sizeof(*s) }

// bytes puts bytes into the image.
func (m *image) bytes(b []byte) uintptr {
	words := m.words((len(b) + 8) / 8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(b)), b)
	return uintptr(unsafe.Pointer(&words[0]))
}

// text puts the concatenated parts into the image as a string.
//
//go:noinline
func (m *image) text(parts ...string) uintptr {
	from := m.at
	for _, part := range parts {
		for i := range len(part) {
			if part[i] == 0 {
				m.bad = true // the string would end there
			}
		}
		m.at += copy(m.b[m.at:], part)
	}
	m.b[m.at] = 0
	m.at++
	return uintptr(unsafe.Pointer(&m.b[from]))
}

// vector puts a list of strings into the image, as execve(2) takes it.
func (m *image) vector(list []string) uintptr {
	words := m.words(len(list) + 1)
	for i, entry := range list {
		words[i] = uint64(m.text(entry))
	}
	words[len(list)] = 0
	return uintptr(unsafe.Pointer(&words[0]))
}

// words makes room for n numbers.
func (m *image) words(n int) []uint64 {
	m.at = (m.at + 7) &^ 7
	p := (*uint64)(unsafe.Pointer(&m.b[m.at]))
	m.at += 8 * n
	return unsafe.Slice(p, n)
}

// numbers puts numbers into the image.
//
//go:noinline
func (m *image) numbers(list ...uint64) uintptr {
	words := m.words(len(list))
	copy(words, list)
	return uintptr(unsafe.Pointer(&words[0]))
}

// halves puts numbers of 32 bits into the image.
func (m *image) halves(list []uint32) uintptr {
	words := m.words((len(list) + 2) / 2)
	copy(unsafe.Slice((*uint32)(unsafe.Pointer(&words[0])), len(list)), list)
	return uintptr(unsafe.Pointer(&words[0]))
}

// fork forks the child whose steps are in the image, which is lent to it if it shares the memory.
func (m *image) fork(
	r *report, cmd *Command, self int, way forkWay, shares bool,
) (pid, pidfd int, err error) {
	b := m.block
	own := cmd.Confinement.forkFlags(b, self)
	cgroup := cmd.Cgroup
	b.report, b.pidfd = uintptr(unsafe.Pointer(r)), -1
	at := uintptr(unsafe.Pointer(&b.pidfd))
	switch way {
	case byFork:
		b.call = step{number: unix.SYS_CLONE, args: [5]uintptr{own | uintptr(unix.SIGCHLD)}}
	case byClone:
		b.call = step{number: unix.SYS_CLONE, args: [5]uintptr{own | unix.CLONE_PIDFD | uintptr(unix.SIGCHLD), 0, at}}
	default:
		b.clone = cloneArgs{flags: uint64(own) | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND, pidfd: uint64(at), exitSignal: uint64(unix.SIGCHLD)}
		if cgroup != 0 {
			b.clone.flags |= unix.CLONE_INTO_CGROUP
			b.clone.cgroup = uint64(cgroup)
		}
		if shares {
			// The child uses no stack, so it needs none of its own. At its execve or its end the
			// kernel clears lent; set_tid_address(2).
			b.clone.flags |= unix.CLONE_VM | unix.CLONE_CHILD_CLEARTID
			b.clone.childTID = uint64(uintptr(unsafe.Pointer(&b.lent)))
			b.lent = 1
		}
		b.call = step{number: unix.SYS_CLONE3, args: [5]uintptr{uintptr(unsafe.Pointer(&b.clone)), unsafe.Sizeof(b.clone)}}
	}
	if pid = fork(b); pid < 0 {
		b.lent = 0
		return 0, -1, unix.Errno(-pid)
	}
	return pid, int(b.pidfd), nil
}

// sharedReports maps memory for reports.
func sharedReports() ([]report, error) {
	b, err := unix.Mmap(-1, 0, 4<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*report)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(report{}))), nil
}

func unmapReports(r []report) {
	unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&r[0])), 4<<10))
}

// LeaveOut keeps memory of this process out of the children that it forks: madvise(2). Children of
// [Loop.Spawn] need only the code and what is mapped for them. [LeaveIn] undoes it.
func LeaveOut(from, size uintptr) {
	if sparse {
		unix.RawSyscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTFORK)
		leftOut = append(leftOut, [2]uintptr{from, size})
	}
}

// LeaveIn gives later children the memory that LeaveOut kept from them. A program calls it before
// it forks a child that goes on in Go code.
func LeaveIn() {
	for _, m := range leftOut {
		unix.RawSyscall(unix.SYS_MADVISE, m[0], m[1], unix.MADV_DOFORK)
	}
	if leftOut != nil { // else it writes nothing: tests have loops on many goroutines
		leftOut = nil
	}
}

// leftOut is the memory that LeaveOut was called for. An image that is older than the last call may
// be part of it.
var leftOut [][2]uintptr
