package vhostvsock

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Descriptor flags (virtio 1.2, 2.7.5).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4

	descSize = 16
)

// chain is one buffer of the driver: memory for the device to read, followed by memory for it to
// write. The slices are the guest's memory itself and may change at any time.
type chain struct {
	head     uint16
	readable [][]byte
	writable [][]byte
}

// desc is a private copy of a descriptor.
type desc struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// readDesc copies the descriptor once, because the guest may be rewriting it.
func readDesc(table []byte, i uint16) desc {
	var b [descSize]byte
	copy(b[:], table[int(i)*descSize:])
	return desc{
		addr:  binary.LittleEndian.Uint64(b[0:]),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

// walk collects the descriptor chain that starts at head of table, the ring's descriptor table. An
// error is about this chain only. It reads no more descriptors than the ring has, so a chain that
// loops ends too.
func (c *chain) walk(mem *memory, table []byte, head uint16) error {
	clear(c.readable)
	clear(c.writable)
	c.head, c.readable, c.writable = head, c.readable[:0], c.writable[:0]
	limit := len(table) / descSize
	indirect := false
	for i, n := head, 0; ; n++ {
		if n == limit {
			return errors.New("descriptor chain is longer than the ring")
		}
		if int(i) >= len(table)/descSize {
			return fmt.Errorf("descriptor %d of a table of %d", i, len(table)/descSize)
		}
		d := readDesc(table, i)
		if d.flags&descIndirect != 0 {
			// An indirect descriptor must be the last of a chain in the ring's own table
			// (2.7.5.3.1). Its table is counted from 0 again.
			if indirect || d.flags&descNext != 0 {
				return errors.New("indirect descriptor with a successor, or inside an indirect table")
			}
			t, err := indirectTable(mem, d, limit)
			if err != nil {
				return err
			}
			table, i, n, indirect = t, 0, -1, true
			continue
		}
		if err := c.add(mem, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		i = d.next
	}
}

// indirectTable returns the table that d points to, with 1 to limit descriptors.
func indirectTable(mem *memory, d desc, limit int) ([]byte, error) {
	if d.len == 0 || d.len%descSize != 0 || d.len > uint32(limit*descSize) {
		return nil, fmt.Errorf("indirect table of %d bytes", d.len)
	}
	t := mem.at(d.addr, uint64(d.len))
	if len(t) != int(d.len) {
		return nil, fmt.Errorf("no guest memory for an indirect table at %#x", d.addr)
	}
	return t, nil
}

func (c *chain) add(mem *memory, d desc) (err error) {
	if d.flags&descWrite != 0 {
		c.writable, err = mem.guest(c.writable, d.addr, d.len)
		return err
	}
	if len(c.writable) > 0 {
		return errors.New("readable descriptor after a writable one")
	}
	c.readable, err = mem.guest(c.readable, d.addr, d.len)
	return err
}

// totalLen returns the length of all pieces together, in bytes.
func totalLen(pieces [][]byte) uint64 {
	var n uint64
	for _, p := range pieces {
		n += uint64(len(p))
	}
	return n
}

// split cuts pieces after n bytes. Both results share the memory of pieces, which must not be used
// again.
func split(pieces [][]byte, n int) (head, tail [][]byte) {
	for i, p := range pieces {
		if n > len(p) {
			n -= len(p)
			continue
		}
		if n == len(p) {
			return pieces[:i+1], pieces[i+1:]
		}
		// The cut piece is in both halves, so one of them needs its own slice.
		head = append(append(make([][]byte, 0, i+1), pieces[:i]...), p[:n])
		pieces[i] = p[n:]
		return head, pieces[i:]
	}
	return pieces, nil
}

// gather copies from pieces to b, and scatter from b to pieces. They copy as much as both have.
func gather(b []byte, pieces [][]byte) (n int) {
	for _, p := range pieces {
		n += copy(b[n:], p)
	}
	return n
}

func scatter(pieces [][]byte, b []byte) {
	for _, p := range pieces {
		b = b[copy(p, b):]
	}
}
