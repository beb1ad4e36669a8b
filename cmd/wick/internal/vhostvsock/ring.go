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

// errRingBroken is what the guest did to a ring that cannot be read any further.
var errRingBroken = errors.New("virtqueue is inconsistent")

// ring is the device's side of a split virtqueue (virtio 1.2, 2.7). The driver offers buffers in avail, the device
// returns them in used, and both refer to desc.
//
// A ring runs when it was given addresses, a kick descriptor, and leave to run (enabled), see running.
type ring struct {
	size    uint32 // number of descriptors, a power of two
	addr    vringAddr
	placed  bool // addr was given; it outlives a change of the memory table
	enabled bool
	broken  bool

	desc, avail, used []byte // nil while addr is not (or no more) in memory

	next     uint16 // index in avail of the buffer to take next
	usedNext uint16 // index in used of the entry to write next
	flags    uint16 // of used
	owed     bool   // something was put in used since the last call

	kick *source // owns its descriptor; nil: none
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

// place finds the ring in memory, at the addresses it was given. It is called again when the memory changed.
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
	// What was returned is in memory only; the front-end does not tell.
	q.usedNext = load16(used, 2)
	q.flags = 0
	q.publish()
	return nil
}

// stop ends processing and returns the index of the buffer that would have been next.
func (q *ring) stop() uint16 {
	q.closeKick()
	q.setCall(-1)
	q.setErr(-1)
	q.placed, q.enabled, q.broken, q.owed = false, false, false, false
	q.desc, q.avail, q.used = nil, nil, nil
	return q.next
}

// setKick begins to listen for the driver. All there is to do on a kick is to wake up: every turn looks at every ring.
func (q *ring) setKick(p *poller, fd int) {
	q.closeKick()
	kick := p.add(fd, nil)
	kick.ready = func(events uint32) {
		drain(fd)
		if events&^unix.EPOLLIN != 0 {
			kick.want(0) // nobody is left at the other end to kick
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

// take walks the next buffer into c without consuming it; release does that. It reports false when there is none.
// An error is either errRingBroken, or about the one chain, which is then in c.head and to be released unused.
func (q *ring) take(mem *memory, c *chain) (bool, error) {
	waiting := load16(q.avail, 2) - q.next
	if waiting == 0 {
		return false, nil
	}
	if uint32(waiting) > q.size {
		return false, fmt.Errorf("%w: %d buffers offered by a ring of %d", errRingBroken, waiting, q.size)
	}
	head := load16(q.avail, 4+2*int(uint32(q.next)&(q.size-1)))
	if uint32(head) >= q.size {
		return false, fmt.Errorf("%w: descriptor %d of %d offered", errRingBroken, head, q.size)
	}
	return true, c.walk(mem, q.desc, head)
}

// release returns the buffer that take found last, of which the device wrote the first n bytes.
func (q *ring) release(head uint16, n uint32) {
	entry := 4 + 8*int(uint32(q.usedNext)&(q.size-1))
	store32(q.used, entry, uint32(head))
	store32(q.used, entry+4, n)
	q.next++
	q.usedNext++
	q.publish()
	q.owed = true
}

// publish stores the head of used: 16 bits of flags and 16 of index, both the device's to write.
func (q *ring) publish() { store32(q.used, 0, uint32(q.flags)|uint32(q.usedNext)<<16) }

// kicks asks the driver to kick, or not to, when it offers buffers.
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

// waitForKick turns kicks on for a ring that was found empty. It reports false, with kicks off again, if the driver
// offered something meanwhile that it may not have kicked for.
func (q *ring) waitForKick() bool {
	q.kicks(true)
	if q.idle() {
		return true
	}
	q.kicks(false)
	return false
}

// idle says whether the ring is empty and the driver will kick when it is not.
func (q *ring) idle() bool { return q.kicksOn() && load16(q.avail, 2) == q.next }

// notify calls the driver if buffers were returned since the last time and it wants to know.
func (q *ring) notify() {
	if !q.owed {
		return
	}
	q.owed = false
	if q.call >= 0 && load16(q.avail, 0)&availNoInterrupt == 0 {
		signal(q.call)
	}
}

// fail stops a ring that the guest has made nonsense of, and says so on its err descriptor.
func (q *ring) fail() {
	q.broken = true
	if q.err >= 0 {
		signal(q.err)
	}
}

// signal adds 1 to an eventfd. It cannot fail in a way that matters: a full counter is signalled already.
func signal(eventfd int) {
	one := [8]byte{1} // a native 1 on a little-endian host, the only kind there is support for
	unix.Write(eventfd, one[:])
}

// drain makes an eventfd unreadable.
func drain(eventfd int) {
	var b [8]byte
	unix.Read(eventfd, b[:])
}
