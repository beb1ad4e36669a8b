package vhostvsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	maxRingSize = 32768 // virtio 1.2, 2.7

	availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT: the driver wants no call
	usedNoNotify     = 1 // VIRTQ_USED_F_NO_NOTIFY: the device wants no kick
)

// errRingBroken says that the guest made a ring unreadable.
var errRingBroken = errors.New("virtqueue is inconsistent")

// ring is the device's side of a split virtqueue (virtio 1.2, 2.7). The driver offers buffers in
// avail, the device returns them in used, and both refer to desc.
//
// A ring runs when it has addresses and a kick descriptor and is enabled: see running.
type ring struct {
	size    uint32 // number of descriptors, a power of two
	addr    vringAddr
	placed  bool // addr was given; it outlives a change of the memory table
	enabled bool
	broken  bool

	desc, avail, used []byte // nil while addr is not in memory

	next     uint16 // index in avail of the next buffer
	usedNext uint16 // index in used of the next entry to write
	flags    uint16 // of used
	owed     bool   // an entry was written to used since the last call

	kick *source // owns its descriptor; may be nil
	call int     // owned; -1: none, the driver polls
	err  int     // owned; -1: none
}

func newRing() *ring { return &ring{call: -1, err: -1, size: maxRingSize} }

func (q *ring) running() bool {
	return q.enabled && !q.broken && q.kick != nil && q.desc != nil
}

func (q *ring) setSize(n uint32) error {
	if n == 0 || n > maxRingSize || n&(n-1) != 0 {
		return fmt.Errorf("ring of %d descriptors", n)
	}
	q.size = n
	return nil
}

// place finds the ring in memory, at its addresses. It is called again when the memory changes.
func (q *ring) place(m *memory) error {
	q.desc, q.avail, q.used = nil, nil, nil
	n := uint64(q.size)
	desc, err := m.user(q.addr.desc, n*descSize)
	if err != nil {
		return fmt.Errorf("descriptor table: %w", err)
	}
	avail, err := m.user(q.addr.avail, 4+2*n)
	if err != nil {
		return fmt.Errorf("available ring: %w", err)
	}
	used, err := m.user(q.addr.used, 4+8*n)
	if err != nil {
		return fmt.Errorf("used ring: %w", err)
	}
	if !aligned(desc, descSize) || !aligned(avail, 2) || !aligned(used, 4) {
		return errors.New("ring is not aligned")
	}
	q.desc, q.avail, q.used = desc, avail, used
	// The index of used is only in memory. The front-end does not send it.
	q.usedNext = load16(used, 2)
	q.flags = 0
	q.publish()
	return nil
}

// stop ends processing and returns the index of the next buffer.
func (q *ring) stop() uint16 {
	q.closeKick()
	q.setCall(-1)
	q.setErr(-1)
	q.placed, q.enabled, q.broken, q.owed = false, false, false, false
	q.desc, q.avail, q.used = nil, nil, nil
	return q.next
}

// setKick starts polling for kicks. A kick only wakes the loop, because every turn looks at every
// ring.
func (q *ring) setKick(p *poller, fd int) {
	q.closeKick()
	kick := p.add(fd, nil)
	kick.ready = func(events uint32) {
		drain(fd)
		if events&^unix.EPOLLIN != 0 {
			kick.want(0) // the other end is closed
		}
	}
	q.kick = kick
}

func (q *ring) closeKick() {
	if q.kick != nil {
		q.kick.close()
		q.kick = nil
	}
}

func (q *ring) setCall(fd int) { replaceFD(&q.call, fd) }
func (q *ring) setErr(fd int)  { replaceFD(&q.err, fd) }

func replaceFD(old *int, fd int) {
	if *old >= 0 {
		unix.Close(*old)
	}
	*old = fd
}

// take walks the next buffer into c without consuming it, which release does. It reports false if
// there is no buffer. An error is errRingBroken, or is about this one chain. The caller must then
// release c.head unused.
func (q *ring) take(mem *memory, c *chain) (bool, error) {
	waiting := load16(q.avail, 2) - q.next
	if waiting == 0 {
		return false, nil
	}
	if uint32(waiting) > q.size {
		return false, fmt.Errorf("%w: %d buffers offered by a ring of %d", errRingBroken, waiting,
			q.size)
	}
	head := load16(q.avail, 4+2*int(uint32(q.next)&(q.size-1)))
	if uint32(head) >= q.size {
		return false, fmt.Errorf("%w: descriptor %d of %d offered", errRingBroken, head, q.size)
	}
	return true, c.walk(mem, q.desc, head)
}

// release returns the buffer that take found last. The device wrote its first n bytes.
func (q *ring) release(head uint16, n uint32) {
	entry := 4 + 8*int(uint32(q.usedNext)&(q.size-1))
	store32(q.used, entry, uint32(head))
	store32(q.used, entry+4, n)
	q.next++
	q.usedNext++
	q.publish()
	q.owed = true
}

// publish stores the head of used: 16 bits of flags and 16 of index. Only the device writes it.
func (q *ring) publish() { store32(q.used, 0, uint32(q.flags)|uint32(q.usedNext)<<16) }

// kicks asks the driver to kick, or not to kick, when it offers buffers.
func (q *ring) kicks(on bool) {
	flags := uint16(usedNoNotify)
	if on {
		flags = 0
	}
	if flags != q.flags {
		q.flags = flags
		q.publish()
	}
}

func (q *ring) kicksOn() bool { return q.flags&usedNoNotify == 0 }

// waitForKick turns kicks on for an empty ring. It turns them off again and reports false if the
// driver offered a buffer meanwhile, perhaps without a kick.
func (q *ring) waitForKick() bool {
	q.kicks(true)
	if q.idle() {
		return true
	}
	q.kicks(false)
	return false
}

// idle reports whether the ring is empty and the driver will kick for the next buffer.
func (q *ring) idle() bool { return q.kicksOn() && load16(q.avail, 2) == q.next }

// notify calls the driver if buffers were returned since the last call and the driver wants calls.
func (q *ring) notify() {
	if !q.owed {
		return
	}
	q.owed = false
	if q.call >= 0 && load16(q.avail, 0)&availNoInterrupt == 0 {
		signal(q.call)
	}
}

// fail stops a ring that the guest has broken, and signals its err descriptor.
func (q *ring) fail() {
	q.broken = true
	if q.err >= 0 {
		signal(q.err)
	}
}

// signal adds 1 to an eventfd. A full counter fails, but is signalled already.
func signal(eventfd int) {
	one := [8]byte{1} // a native 1 on a little-endian host, the only kind supported
	unix.Write(eventfd, one[:])
}

// drain makes an eventfd unreadable.
func drain(eventfd int) {
	var b [8]byte
	unix.Read(eventfd, b[:])
}
