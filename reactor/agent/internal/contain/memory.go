package contain

import (
	"bytes"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// The limit on the memory of all commands together follows the memory of the machine.
//
// The kernel charges a cgroup for the pages, page tables and stacks of its processes. It also uses
// memory for them that it charges to no cgroup. 400 shells of a fork bomb take 5 MB more than they
// are charged for, and 9 MB for a moment when they die. When the machine has no free memory left,
// the kernel reclaims in the context of the next task that allocates. It may be the worker that
// refills the buffers of the vsock device. Pings then do not reach the agent for seconds, although
// process 1 itself waits for nothing. Therefore the limit leaves a reserve that commands cannot
// use. Memory that was not charged counts against it each time the limit is computed.
const (
	// leastReserve is the fixed part of the reserve, in bytes. reserveShare is the share of the
	// memory that is added to it.
	leastReserve = 4 << 20
	reserveShare = 8
	// mostReserve is the largest reserve, in bytes. It is enough for 2,000 processes.
	mostReserve = 32 << 20
	// limitSlack is how far the limit stays above the memory in use, in bytes. Before Linux 6.16, a
	// write of a lower limit waits until the kernel has reclaimed, and killed, enough.
	limitSlack = 1 << 20
)

// commandMemory returns the limit, in bytes, for commands that use current bytes in a machine with
// outside more bytes available. was is the last limit. If the machine is short of memory, the limit
// follows the usage downwards and never rises. Otherwise it would rise each time that commands
// reach it and wait for memory, until the reserve is used up.
// that it is computed again, and it would climb until there is no reserve.
func commandMemory(current, outside, was uint64) uint64 {
	pool := current + outside
	limit := pool - min(leastReserve+pool/reserveShare, mostReserve, pool/2)
	if limit < current+limitSlack {
		limit = min(current+limitSlack, was)
	}
	return limit
}

// computeLimit computes the limit and sets it.
func (t *Pool) computeLimit() {
	if !t.memory {
		return
	}
	t.total = totalMemory()
	// This is read first. Memory that commands take meanwhile must not count both as theirs and as
	// free.
	current := sys.ReadNumber(unix.AT_FDCWD, t.path+"/memory.current")
	var free, files, own uint64
	sys.ReadFigures(unix.AT_FDCWD, "/proc/meminfo", t.buf[:], func(name string, kib uint64) {
		switch name {
		case "MemFree":
			free = kib << 10
		case "Active(file)", "Inactive(file)":
			files += kib << 10
		}
	})
	stat := t.path + "/memory.stat"
	sys.ReadFigures(unix.AT_FDCWD, stat, t.buf[:], func(name string, bytes uint64) {
		if name == "active_file" || name == "inactive_file" {
			own += bytes
		}
	})
	if free == 0 {
		return // it could not be read
	}
	// Half of the page cache outside counts as in use. Slab does not count as available, because
	// the kernel reclaims little of it under pressure, whatever it calls reclaimable.
	outside := free + (max(files, own)-own)/2
	t.used, t.files = current, own
	limit := commandMemory(current, outside, t.limit) &^ 4095
	if limit < current+limitSlack {
		return // it is what it was
	}
	t.limit = limit
	sys.WriteFile(t.path+"/memory.max", sys.Num(int64(limit)))
}

// followMemory computes the limit again if a balloon or hot-plugged memory has changed the size of
// the machine. Otherwise it costs one system call.
func (t *Pool) followMemory() {
	if t.memory && totalMemory() != t.total {
		t.computeLimit()
	}
}

// totalMemory returns the size of the machine's memory in bytes. It excludes the memory that the
// kernel takes at boot and that a balloon holds.
func totalMemory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return s.Totalram * uint64(s.Unit)
}

// memoryPerPid is the memory of the machine, in bytes, for each process that a command may have.
// The kernel allows the whole machine one process for each 128 KiB (kernel.threads-max), so one
// command may have half of them.
const memoryPerPid = 256 << 10

// DefaultPids returns the default limit on the processes and threads of one command.
func DefaultPids() uint32 {
	const least, most = 128, 16 << 10 // half of the kernel's usual pid_max
	return uint32(min(max(totalMemory()/memoryPerPid, least), most))
}

// limitGarbage is the garbage of one computation of the limit, in bytes.
const limitGarbage = 10 << 10

// LimitMemory computes and sets the limit on the memory of all commands.
func (t *Pool) LimitMemory() {
	t.garbage.Collect(limitGarbage)
	t.computeLimit()
}

// memoryEvents reports blocks of memory that are added or removed. The kernel sends a datagram for
// each (netlink(7)), which begins with "add@/devices/system/memory/memory40". It sends none for a
// balloon.
type memoryEvents struct {
	reactor.Descriptor
	pool *Pool
}

const (
	memoryBlocks = "/devices/system/memory/"
	// ueventBatch is the most events read in a turn.
	ueventBatch = 32
)

func (m *memoryEvents) open(t *Pool) {
	if !t.memory {
		return
	}
	const kind = unix.SOCK_RAW | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(unix.AF_NETLINK, kind, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return // the limit is computed when a command starts
	}
	// Group 1 has the kernel's messages.
	if unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}) != nil {
		unix.Close(fd)
		return
	}
	m.pool = t
	t.loop.Attach(&m.Descriptor, fd, m)
	m.Want(reactor.Read)
}

// Ready implements [reactor.Handler].
func (m *memoryEvents) Ready(reactor.Events) {
	changed := false
	var head [64]byte // the kernel drops the rest of the datagram
	for range ueventBatch {
		n, err := sys.Read(m.FD(), head[:])
		if err == unix.ENOBUFS {
			changed = true // the lost events may include one
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		_, device, _ := bytes.Cut(head[:n], []byte{'@'})
		changed = changed || bytes.HasPrefix(device, []byte(memoryBlocks))
	}
	if changed {
		m.pool.LimitMemory()
	}
}

// Failed implements [reactor.Failer]. The watch goes on.
func (m *memoryEvents) Failed(value any, stack []byte) { m.pool.log.Panic("uevent", value, stack) }
